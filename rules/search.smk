# Bits for every layer: a plan, which quantize reads like one of the user's.
rule search:
    input:
        unpack(times),
        engine=ENGINE,
        upstream=before_search,
        ir=IMPORTED + "imported.ir",
        params=IMPORTED + "imported.params",
        statistics=IMPORTED + "statistics.npz",
        calibration=MODEL + "calibration.npz",
        selection=MODEL + "selection.npz",
        costs=ON_TARGET + "layer_costs.json",
        frontier=ON_TARGET + "frontier_plans.json",
    output:
        outcome=EXPERIMENT + "search.json",
        plan=EXPERIMENT + "plan.json",
        report=EXPERIMENT + "search_report.json",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/search.log",
    benchmark:
        LOGS + "{model}/{engine}/{target}/{precision}/search.tsv"
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
        search=goal,
        settings=CONFIG.search.settings.settings(),
        code=code_of("search"),
        limits=times_limits_raised(EXPERIMENT + "search.json"),
    message:
        "searching for the bits of {wildcards.model} at {wildcards.precision}"
    script:
        script_of("search")
