# Where the time goes, and what the machine could do at most.
rule profile:
    input:
        engine=ENGINE,
        upstream=[
            IMPORTED + "import.json",
            EXPERIMENT + "quantize.json",
            EXPERIMENT + "export.json",
        ],
        module=EXPERIMENT + "module.so",
        ir=EXPERIMENT + "quantized.ir",
        params=EXPERIMENT + "quantized.params",
        imported=IMPORTED + "imported.ir",
    output:
        outcome=EXPERIMENT + "profile.json",
        operators=EXPERIMENT + "operators.json",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/profile.log",
    wildcard_constraints:
        engine=one_of(name for name in ENGINES if has_task(name, "profile")),
    threads: WHOLE_MACHINE
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
        cpus_per_task=WHOLE_NODE,
    params:
        input_shape=model_input_shape,
        seed=CONFIG.benchmark.seed,
        code=code_of("profile"),
        limits=times_limits_raised(EXPERIMENT + "profile.json"),
    message:
        "timing the operators of {wildcards.model} at {wildcards.precision}, alone on the machine ({wildcards.engine})"
    script:
        script_of("profile")


rule peaks:
    output:
        peaks=PEAKS,
    log:
        LOGS + "peaks.log",
    threads: WHOLE_MACHINE
    resources:
        mem_mb=5000,
        runtime=10,
        cpus_per_task=WHOLE_NODE,
    params:
        code=code_of("peaks", "relax"),
    message:
        "measuring what this machine can do at most, alone on it"
    script:
        script_of("peaks")


rule profile_table:
    input:
        profiles,
        peaks=PEAKS,
        summary="results/tables/summary.parquet",
    output:
        table=report(
            "results/tables/layers.csv",
            caption="../report/profile.rst",
            category="Tables",
            labels={"table": "layers", "format": "CSV"},
        ),
        profile=report(
            "results/plots/profile.png",
            caption="../report/profile.rst",
            category="Plots",
            labels={"plot": "profile"},
        ),
        roofline=report(
            "results/plots/roofline.png",
            caption="../report/profile.rst",
            category="Plots",
            labels={"plot": "roofline"},
        ),
    log:
        LOGS + "profile_table.log",
    benchmark:
        LOGS + "profile_table.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        experiments=PROFILED,
        code=code_of("profile_table"),
    message:
        "putting what operators take into a table and two plots"
    script:
        script_of("profile_table")
