def other_run():
    """What tells whether the results that are compared with changed."""
    return CONFIG.compare and fingerprint.of_folder(reading.folder(CONFIG.compare))


def compared_outcomes(wildcards):
    """Every file of this run that is compared."""
    if not CONFIG.compare:
        raise WorkflowError(
            "compare is not set: give the results of another run, --config compare=FOLDER"
        )
    left = [
        MODEL + "reference.npz",
        *(EXPERIMENT + name for name in ("samples.csv", "outputs.npz")),
    ]
    paths = [path.format(**experiment) for experiment in EXPERIMENTS for path in left]
    return experiment_outcomes(wildcards) + list(dict.fromkeys(paths))


rule compare_table:
    input:
        compared_outcomes,
        summary="results/tables/summary.parquet",
    output:
        table=report(
            "results/tables/compare.csv",
            caption="../report/compare.rst",
            category="Tables",
            labels={"table": "compare", "format": "CSV"},
        ),
        plot=report(
            "results/plots/compare.png",
            caption="../report/compare.rst",
            category="Plots",
            labels={"plot": "compare"},
        ),
    log:
        LOGS + "compare_table.log",
    benchmark:
        LOGS + "compare_table.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        other=CONFIG.compare,
        fingerprint=other_run(),
        code=code_of("compare_table"),
    message:
        "comparing with the run in {params.other}"
    script:
        script_of("compare_table")


rule compare:
    input:
        table="results/tables/compare.csv",
    log:
        LOGS + "compare.log",
    params:
        fail_on=CONFIG.compare_fail_on,
    message:
        "telling what changed"
    script:
        script_of("compare")
