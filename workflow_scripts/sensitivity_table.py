from bitsweep import plots, sensitivity, tables
from bitsweep.outcome import Experiment
from bitsweep.script import script

with script(snakemake):
    experiments = [Experiment(**experiment) for experiment in snakemake.params.experiments]
    table = sensitivity.collect(experiments, "results")
    tables.write(table, snakemake.output.table)
    plots.save(plots.sensitivity.draw(table), snakemake.output.plot)
