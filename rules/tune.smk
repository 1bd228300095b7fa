# Candidates for the schedule of each operator, measured: for the targets that have `tuning`.
rule tune:
    input:
        engine=ENGINE,
        upstream=EXPERIMENT + "quantize.json",
        ir=EXPERIMENT + "quantized.ir",
        params=EXPERIMENT + "quantized.params",
    output:
        outcome=EXPERIMENT + "tune.json",
        log=EXPERIMENT + "tuning.log",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/tune.log",
    wildcard_constraints:
        target=one_of(
            name
            for name, target in CONFIG.targets.items()
            if target.tuning is not None
        )
        or "(?!)",
    threads: WHOLE_MACHINE
    resources:
        mem_mb=growing(JOB_MB),
        runtime=tuning_minutes,
        limit_seconds=tuning_seconds,
        limit_mb=LIMIT_MB,
        cpus_per_task=WHOLE_NODE,
    params:
        target=target_settings,
        tuning=tuning_settings,
        kept=kept_measurements,
        code=code_of("tune"),
        limits=times_limits_raised(EXPERIMENT + "tune.json"),
    message:
        "tuning {wildcards.model} at {wildcards.precision} for {wildcards.target}, alone on the machine ({wildcards.engine})"
    script:
        script_of("tune")
