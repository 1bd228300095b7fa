rule quantize:
    input:
        unpack(statistics),
        unpack(plan),
        engine=ENGINE,
        upstream=before_quantize,
        ir=IMPORTED + "imported.ir",
        params=IMPORTED + "imported.params",
        text=IMPORTED + "imported.txt",
        calibration=MODEL + "calibration.npz",
    output:
        outcome=EXPERIMENT + "quantize.json",
        ir=EXPERIMENT + "quantized.ir",
        params=EXPERIMENT + "quantized.params",
        text=EXPERIMENT + "quantized.txt",
        coverage=EXPERIMENT + "coverage.json",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/quantize.log",
    benchmark:
        LOGS + "{model}/{engine}/{target}/{precision}/quantize.tsv"
    threads: 1
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    params:
        precision=precision_settings,
        target=target_settings,
        code=code_of("quantize"),
        limits=times_limits_raised(EXPERIMENT + "quantize.json"),
    message:
        "quantizing {wildcards.model} to {wildcards.precision} ({wildcards.engine})"
    script:
        script_of("quantize")
