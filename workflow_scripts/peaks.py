from bitsweep.profile import measuring
from bitsweep.script import script

with script(snakemake):
    measuring.run(
        "peaks",
        threads=snakemake.threads,
        path=snakemake.output.peaks,
        log=snakemake.log[0],
    )
