from bitsweep import rule_stage
from bitsweep.script import script

with script(snakemake):
    rule_stage.run(snakemake, "tune")
