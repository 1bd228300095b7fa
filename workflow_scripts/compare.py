from bitsweep.compare import table
from bitsweep.script import script

with script(snakemake) as tell:
    compared = table.read(snakemake.input.table)
    for line in table.summary(compared):
        tell(line)
    table.require(compared, snakemake.params.fail_on)
