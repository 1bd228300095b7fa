from bitsweep import latency, machine, rule_stage
from bitsweep.script import script

with script(snakemake):
    load_before = machine.load_average()
    rule_stage.run(
        snakemake,
        "benchmark",
        finish=lambda inputs, outputs: latency.write(
            outputs,
            settings=snakemake.params.benchmark,
            threads=machine.usable(snakemake.threads),
            load_before=load_before,
        ),
    )
