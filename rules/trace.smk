rule trace:
    input:
        sources=model_sources,
    output:
        outcome=MODEL + "trace.json",
        torchscript=MODEL + "torchscript.pt",
        exported=MODEL + "exported.pt2",
        calibration=MODEL + "calibration.npz",
        selection=MODEL + "selection.npz",
        reference=MODEL + "reference.npz",
        description=MODEL + "model.json",
    log:
        LOGS + "{model}/trace.log",
    benchmark:
        LOGS + "{model}/trace.tsv"
    priority: 1  # much follows
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
        model=model_settings,
        code=code_of("trace"),
        network=own_network,
        images=own_images,
    message:
        "tracing {wildcards.model}"
    script:
        script_of("trace")
