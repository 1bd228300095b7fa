# Weights of torchvision's, by name: fetched where there is a network, which nodes may not have.
rule download:
    output:
        record=MODEL + "download.json",
    log:
        LOGS + "{model}/download.log",
    wildcard_constraints:
        model=one_of(
            name
            for name, model in CONFIG.models.items()
            if model.weights_are_downloaded
        )
        or "(?!)",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        model=model_settings,
        code=code_of("download"),
    message:
        "downloading the weights of {wildcards.model}"
    script:
        script_of("download")
