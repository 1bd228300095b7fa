# What every search of a network chooses from.
rule costs:
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
        calibration=MODEL + "calibration.npz",
        selection=MODEL + "selection.npz",
    output:
        outcome=ON_TARGET + "costs.json",
        costs=ON_TARGET + "layer_costs.json",
    log:
        LOGS + "{model}/{engine}/{target}/costs.log",
    benchmark:
        LOGS + "{model}/{engine}/{target}/costs.tsv"
    wildcard_constraints:
        engine="relax",
    priority: 1  # much follows, and it takes long
    threads: 1
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    params:
        search=CONFIG.search.model_dump(mode="json"),
        code=code_of("costs"),
        limits=times_limits_raised(ON_TARGET + "costs.json"),
    message:
        "quantizing one layer of {wildcards.model} at a time to each number of bits"
    script:
        script_of("costs")
