# What every search for a latency chooses from.
rule time_layers:
    input:
        engine=ENGINE,
        upstream=[
            MODEL + "trace.json",
            IMPORTED + "import.json",
            IMPORTED + "calibrate.json",
        ],
        ir=IMPORTED + "imported.ir",
        params=IMPORTED + "imported.params",
        statistics=IMPORTED + "statistics.npz",
    output:
        outcome=ON_TARGET + "time_layers.json",
        times=ON_TARGET + "layer_times.json",
    log:
        LOGS + "{model}/{engine}/{target}/time_layers.log",
    wildcard_constraints:
        engine="relax",
    threads: WHOLE_MACHINE
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
        cpus_per_task=WHOLE_NODE,
    params:
        input_shape=model_input_shape,
        search=CONFIG.search.model_dump(mode="json", exclude={"images"}),
        benchmark=CONFIG.benchmark.model_dump(mode="json"),
        target=target_settings,
        code=code_of("time_layers"),
        limits=times_limits_raised(ON_TARGET + "time_layers.json"),
    message:
        "timing the layers of {wildcards.model} at each number of bits, alone on the machine"
    script:
        script_of("time_layers")
