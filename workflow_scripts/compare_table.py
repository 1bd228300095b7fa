from bitsweep import plots, tables
from bitsweep.compare import table
from bitsweep.script import script

with script(snakemake):
    compared = table.compare(snakemake.params.other, "results")
    tables.write(compared, snakemake.output.table)
    plots.save(plots.compare.draw(compared), snakemake.output.plot)
