rule plots:
    input:
        summary="results/tables/summary.parquet",
    output:
        plot=report(
            "results/plots/{plot}.png",
            caption="../report/plots.rst",
            category="Plots",
            labels={"plot": "{plot}"},
        ),
    log:
        LOGS + "plots/{plot}.log",
    benchmark:
        LOGS + "plots/{plot}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_of("plots"),
    message:
        "drawing {wildcards.plot}"
    script:
        script_of("plots")
