rule benchmark:
    input:
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
        mem_mb=JOB_MB,
        runtime=JOB_MINUTES,
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    params:
        benchmark=CONFIG.benchmark.model_dump(mode="json"),
    message:
        "timing {wildcards.model} at {wildcards.precision}, alone on the machine ({wildcards.engine})"
    script:
        "../workflow_scripts/benchmark.py"
