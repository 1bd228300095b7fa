rule import:
    input:
        unpack(traced_network),
        engine=ENGINE,
        upstream=MODEL + "trace.json",
        reference=MODEL + "reference.npz",
    output:
        outcome=IMPORTED + "import.json",
        ir=IMPORTED + "imported.ir",
        params=IMPORTED + "imported.params",
        text=IMPORTED + "imported.txt",
    log:
        LOGS + "{model}/{engine}/import.log",
    benchmark:
        LOGS + "{model}/{engine}/import.tsv"
    priority: 1  # much follows
    threads: 1
    resources:
        mem_mb=growing(JOB_MB),
        runtime=growing(JOB_MINUTES),
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    params:
        code=code_of("import"),
        limits=times_limits_raised(IMPORTED + "import.json"),
    message:
        "importing {wildcards.model} into {wildcards.engine}"
    script:
        script_of("import")
