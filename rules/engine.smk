rule engine:
    input:
        wheel="requirements/{engine}-wheel.txt",
        dependencies="requirements/{engine}-dependencies.txt",
    output:
        record=ENGINE,
    log:
        LOGS + "engine/{engine}.log",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    params:
        python_path=engine_path,
    message:
        "laying out the TVM of engine {wildcards.engine}"
    script:
        "../workflow_scripts/engine.py"
