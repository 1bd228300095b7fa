import os
from datetime import UTC, datetime

from bitsweep import latency, machine, rule_stage
from bitsweep.script import script

with script(snakemake):
    start, load_before = datetime.now(UTC), os.getloadavg()[0]
    rule_stage.run(
        snakemake,
        *["benchmark"] * snakemake.params.benchmark["processes"],
        finish=lambda inputs, outputs: latency.write(
            outputs,
            settings=snakemake.params.benchmark,
            threads=machine.usable(snakemake.threads),
            start=start,
            load_before=load_before,
        ),
    )
