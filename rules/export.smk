rule export:
    input:
        engine=ENGINE,
        upstream=[MODEL + "trace.json", EXPERIMENT + "compile.json"],
        objects=EXPERIMENT + "objects.tar",
        reference=MODEL + "reference.npz",
    output:
        outcome=EXPERIMENT + "export.json",
        module=EXPERIMENT + "module.so",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/export.log",
    benchmark:
        LOGS + "{model}/{engine}/{target}/{precision}/export.tsv"
    threads: 1
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    params:
        code=code_of("export"),
        limits=times_limits_raised(EXPERIMENT + "export.json"),
    message:
        "linking {wildcards.model} at {wildcards.precision} ({wildcards.engine})"
    script:
        script_of("export")
