# Where more bits are worth their bytes: what all searches of a network start from.
rule frontier:
    input:
        engine=ENGINE,
        upstream=[
            MODEL + "trace.json",
            IMPORTED + "import.json",
            IMPORTED + "calibrate.json",
            ON_TARGET + "costs.json",
        ],
        ir=IMPORTED + "imported.ir",
        params=IMPORTED + "imported.params",
        statistics=IMPORTED + "statistics.npz",
        calibration=MODEL + "calibration.npz",
        selection=MODEL + "selection.npz",
        costs=ON_TARGET + "layer_costs.json",
    output:
        outcome=ON_TARGET + "frontier.json",
        plans=ON_TARGET + "frontier_plans.json",
    log:
        LOGS + "{model}/{engine}/{target}/frontier.log",
    benchmark:
        LOGS + "{model}/{engine}/{target}/frontier.tsv"
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
        settings=CONFIG.search.settings.settings(),
        code=code_of("frontier"),
        limits=times_limits_raised(ON_TARGET + "frontier.json"),
    message:
        "trying plans of bits for the layers of {wildcards.model}"
    script:
        script_of("frontier")
