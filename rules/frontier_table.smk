def search_outcomes(wildcards):
    """Every file that the table of plans and its plots are made from."""
    paths = []
    for search in SEARCHES:
        timed = "time_layers" in CONFIG.stages(Experiment(**search))
        left = [
            MODEL + "trace.json",
            MODEL + "selection.npz",
            *(ON_TARGET + name for name in ("costs.json", "layer_costs.json")),
            *(ON_TARGET + name for name in ("frontier.json", "frontier_plans.json")),
            *(EXPERIMENT + name for name in ("search.json", "search_report.json")),
            *[ON_TARGET + name for name in ("time_layers.json", "layer_times.json")]
            * timed,
        ]
        paths += [path.format(**search) for path in left]
    return list(dict.fromkeys(paths))


rule frontier_table:
    input:
        search_outcomes,
        summary="results/tables/summary.parquet",
    output:
        table=report(
            "results/tables/frontier.csv",
            caption="../report/frontier.rst",
            category="Tables",
            labels={"table": "frontier", "format": "CSV"},
        ),
        frontier=report(
            "results/plots/frontier.png",
            caption="../report/frontier.rst",
            category="Plots",
            labels={"plot": "frontier"},
        ),
        allocation=report(
            "results/plots/allocation.png",
            caption="../report/frontier.rst",
            category="Plots",
            labels={"plot": "allocation"},
        ),
    log:
        LOGS + "frontier_table.log",
    benchmark:
        LOGS + "frontier_table.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        searches=SEARCHES,
        code=code_of("frontier_table"),
    message:
        "putting the plans that were tried into a table and two plots"
    script:
        script_of("frontier_table")
