from bitsweep import quality, rule_stage
from bitsweep.script import script

with script(snakemake):
    rule_stage.run(snakemake, "answer", finish=quality.write)
