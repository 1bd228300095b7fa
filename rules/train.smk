rule train:
    input:
        sources=training_sources,
    output:
        weights=MODEL + "weights.pt",
        training=MODEL + "training.json",
        epochs=MODEL + "training.csv",
    log:
        LOGS + "{model}/train.log",
    benchmark:
        LOGS + "{model}/train.tsv"
    wildcard_constraints:
        model=one_of(
            name for name, model in CONFIG.models.items() if model.train is not None
        )
        or "(?!)",
    priority: 2  # much follows, it takes long, and wants cores that are free together
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        model=training_settings,
        code=code_of("train"),
        network=own_network,
        images=own_images,
    message:
        "training {wildcards.model}"
    script:
        script_of("train")
