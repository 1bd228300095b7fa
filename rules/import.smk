rule import:
    input:
        engine=ENGINE,
        upstream=MODEL + "trace.json",
        torchscript=MODEL + "torchscript.pt",
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
    threads: 1
    resources:
        mem_mb=JOB_MB,
        runtime=JOB_MINUTES,
        limit_seconds=LIMIT_SECONDS,
        limit_mb=LIMIT_MB,
    message:
        "importing {wildcards.model} into {wildcards.engine}"
    script:
        "../workflow_scripts/import.py"
