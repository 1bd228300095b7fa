from bitsweep import expectation
from bitsweep.script import script

with script(snakemake):
    expectation.check(snakemake.input.summary, snakemake.params.expected)
