rule evaluate:
    input:
        engine=ENGINE,
        upstream=[MODEL + "trace.json", EXPERIMENT + "export.json"],
        module=EXPERIMENT + "module.so",
        reference=MODEL + "reference.npz",
    output:
        outcome=EXPERIMENT + "evaluate.json",
        answers=EXPERIMENT + "outputs.npz",
        quality=EXPERIMENT + "quality.json",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/evaluate.log",
    benchmark:
        LOGS + "{model}/{engine}/{target}/{precision}/evaluate.tsv"
    threads: 1
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    params:
        code=code_of("evaluate"),
        limits=times_limits_raised(EXPERIMENT + "evaluate.json"),
    message:
        "comparing {wildcards.model} at {wildcards.precision} with PyTorch ({wildcards.engine})"
    script:
        script_of("evaluate")
