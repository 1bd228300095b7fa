rule inspect:
    input:
        unpack(float_code),
        upstream=expand(
            EXPERIMENT + "{stage}.json",
            stage=["quantize", "compile", "export"],
            allow_missing=True,
        ),
        ir=EXPERIMENT + "quantized.ir",
        params=EXPERIMENT + "quantized.params",
        llvm_ir=EXPERIMENT + "module.ll",
        assembly=EXPERIMENT + "module.s",
        objects=EXPERIMENT + "objects.tar",
        module=EXPERIMENT + "module.so",
    output:
        outcome=EXPERIMENT + "inspect.json",
        code=EXPERIMENT + "code.json",
    log:
        LOGS + "{model}/{engine}/{target}/{precision}/inspect.log",
    benchmark:
        LOGS + "{model}/{engine}/{target}/{precision}/inspect.tsv"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code_of("inspect"),
    message:
        "inspecting the code of {wildcards.model} at {wildcards.precision} ({wildcards.engine})"
    script:
        script_of("inspect")
