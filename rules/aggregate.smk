rule aggregate:
    input:
        experiment_outcomes,
        profiles,
        peaks=PEAKS,
    output:
        summary_csv=report(
            "results/tables/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "summary", "format": "CSV"},
        ),
        summary_parquet=report(
            "results/tables/summary.parquet",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "summary", "format": "Parquet"},
        ),
        failures=report(
            "results/tables/failures.csv",
            caption="../report/failures.rst",
            category="Tables",
            labels={"table": "failures", "format": "CSV"},
        ),
        summary_md=report(
            "results/tables/summary.md",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "summary", "format": "Markdown"},
        ),
        answers="results/tables/answers.rst",
    log:
        LOGS + "aggregate.log",
    benchmark:
        LOGS + "aggregate.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        experiments=EXPERIMENTS,
        profiled=PROFILED,
        bits=BITS,
        stages=STAGES_OF,
        code=code_of("aggregate"),
    message:
        "putting {count} experiments into tables".format(count=len(EXPERIMENTS))
    script:
        script_of("aggregate")
