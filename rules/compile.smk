rule compile:
    input:
        unpack(tuned),
        engine=ENGINE,
        upstream=before_compile,
        ir=EXPERIMENT + "quantized.ir",
        params=EXPERIMENT + "quantized.params",
    output:
        outcome=EXPERIMENT + "compile.json",
        objects=EXPERIMENT + "objects.tar",
        llvm_ir=EXPERIMENT + "module.ll",
        assembly=EXPERIMENT + "module.s",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/compile.log",
    benchmark:
        LOGS + "{model}/{engine}/{target}/{precision}/compile.tsv"
    threads: 1
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    params:
        target=target_settings,
        tuner=tuner,
        code=code_of("compile"),
        limits=times_limits_raised(EXPERIMENT + "compile.json"),
    message:
        "compiling {wildcards.model} at {wildcards.precision} for {wildcards.target} ({wildcards.engine})"
    script:
        script_of("compile")
