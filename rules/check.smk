rule check:
    input:
        summary="results/tables/summary.csv",
    log:
        LOGS + "check.log",
    params:
        expected=expectations(),
    message:
        "comparing outcomes with what the config expects"
    script:
        script_of("check")
