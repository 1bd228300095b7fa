rule sensitivity:
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
        reference=MODEL + "reference.npz",
    output:
        outcome=EXPERIMENT + "sensitivity.json",
        layers=EXPERIMENT + "layers.json",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/sensitivity.log",
    benchmark:
        LOGS + "{model}/{engine}/{target}/{precision}/sensitivity.tsv"
    wildcard_constraints:
        engine="relax",
    threads: 1
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    params:
        precision=precision_settings,
        images=CONFIG.sensitivity.images,
        code=code_of("sensitivity"),
        limits=times_limits_raised(EXPERIMENT + "sensitivity.json"),
    message:
        "quantizing one layer of {wildcards.model} at a time to {wildcards.precision}"
    script:
        script_of("sensitivity")


rule sensitivity_table:
    input:
        sensitivity_outcomes,
    output:
        table=report(
            "results/tables/sensitivity.csv",
            caption="../report/sensitivity.rst",
            category="Tables",
            labels={"table": "sensitivity", "format": "CSV"},
        ),
        plot=report(
            "results/plots/sensitivity.png",
            caption="../report/sensitivity.rst",
            category="Plots",
            labels={"plot": "sensitivity"},
        ),
    log:
        LOGS + "sensitivity.log",
    benchmark:
        LOGS + "sensitivity.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        experiments=SENSITIVITIES,
        code=code_of("sensitivity_table"),
    message:
        "putting the sensitivity of layers into a table and a plot"
    script:
        script_of("sensitivity_table")
