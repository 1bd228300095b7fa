from bitsweep import digits
from bitsweep.script import script

with script(snakemake):
    digits.write(
        snakemake.params.seed,
        weights=snakemake.output.weights,
        training=snakemake.output.training,
    )
