# What all precisions share: the float network's tensors on the calibration images.
rule calibrate:
    input:
        engine=ENGINE,
        upstream=[MODEL + "trace.json", IMPORTED + "import.json"],
        ir=IMPORTED + "imported.ir",
        params=IMPORTED + "imported.params",
        calibration=MODEL + "calibration.npz",
    output:
        outcome=IMPORTED + "calibrate.json",
        statistics=IMPORTED + "statistics.npz",
    log:
        LOGS + "{model}/{engine}/calibrate.log",
    benchmark:
        LOGS + "{model}/{engine}/calibrate.tsv"
    priority: 1  # much follows
    threads: 1
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    params:
        code=code_of("calibrate"),
        limits=times_limits_raised(IMPORTED + "calibrate.json"),
    message:
        "calibrating {wildcards.model} for every precision ({wildcards.engine})"
    script:
        script_of("calibrate")
