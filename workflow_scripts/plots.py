from bitsweep import plots, tables
from bitsweep.script import script

with script(snakemake):
    plots.write(
        snakemake.wildcards.plot,
        tables.read_summary(snakemake.input.summary),
        snakemake.output.plot,
    )
