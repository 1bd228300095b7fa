import os
from datetime import UTC, datetime
from functools import partial

from bitsweep import latency, machine, rule_stage
from bitsweep.engines import lockstep, task
from bitsweep.script import script

with script(snakemake):
    start, load_before = datetime.now(UTC), os.getloadavg()[0]
    reference = snakemake.input.get("reference_engine")
    rule_stage.run(
        snakemake,
        *["benchmark"] * snakemake.params.benchmark["processes"],
        using=partial(lockstep.run, reference=reference and task.Engine.read(reference)),
        finish=lambda inputs, outputs: latency.write(
            outputs,
            settings=snakemake.params.benchmark,
            threads=machine.usable(snakemake.threads),
            start=start,
            load_before=load_before,
        ),
    )
