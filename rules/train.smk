rule train:
    output:
        weights=MODEL + "weights.pt",
        training=MODEL + "training.json",
    log:
        LOGS + "{model}/train.log",
    benchmark:
        LOGS + "{model}/train.tsv"
    wildcard_constraints:
        model=one_of(
            name
            for name, model in CONFIG.models.items()
            if model.factory == "bitsweep.digits:residual_network"
        )
        or "(?!)",
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        seed=model_seed,
        code=code_of("train"),
    message:
        "training {wildcards.model}"
    script:
        script_of("train")
