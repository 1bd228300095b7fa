from bitsweep import plots, tables
from bitsweep.answer import layers, plans
from bitsweep.outcome import Experiment
from bitsweep.script import script

with script(snakemake):
    searches = [Experiment(**search) for search in snakemake.params.searches]
    table = plans.collect(searches, "results")
    tables.write(table, snakemake.output.table)
    summary = tables.read_summary(snakemake.input.summary)
    plots.save(plots.frontier.draw(table, summary), snakemake.output.frontier)
    chosen = layers.collect(searches, "results")
    plots.save(plots.allocation.draw(chosen, summary), snakemake.output.allocation)
