rule benchmark:
    input:
        unpack(reference),
        unpack(untuned),
        engine=ENGINE,
        upstream=EXPERIMENT + "export.json",
        module=EXPERIMENT + "module.so",
        baseline_outcome=FLOAT + "export.json",
        baseline=FLOAT + "module.so",
    output:
        outcome=EXPERIMENT + "benchmark.json",
        samples=EXPERIMENT + "samples.csv",
        latency=EXPERIMENT + "latency.json",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/benchmark.log",
    threads: WHOLE_MACHINE
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(BENCHMARK_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
        cpus_per_task=WHOLE_NODE,
    params:
        input_shape=model_input_shape,
        benchmark=CONFIG.benchmark.model_dump(mode="json"),
        code=code_of("benchmark"),
        limits=times_limits_raised(EXPERIMENT + "benchmark.json"),
    message:
        "timing {wildcards.model} at {wildcards.precision}, alone on the machine ({wildcards.engine})"
    script:
        script_of("benchmark")
