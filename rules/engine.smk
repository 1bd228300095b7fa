rule engine:
    input:
        unpack(engine_requirements),
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
        build=engine_build,
    message:
        "finding the tool of engine {wildcards.engine}"
    script:
        script_of("engine")
