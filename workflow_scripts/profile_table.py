from bitsweep import plots, tables
from bitsweep.outcome import Experiment
from bitsweep.profile import table
from bitsweep.script import script

with script(snakemake):
    experiments = [Experiment(**experiment) for experiment in snakemake.params.experiments]
    layers = table.collect(experiments, "results", snakemake.input.peaks)
    tables.write(layers, snakemake.output.table)
    summary = tables.read_summary(snakemake.input.summary)
    plots.save(plots.profile.draw(layers, summary), snakemake.output.profile)
    plots.save(plots.roofline.draw(layers, summary), snakemake.output.roofline)
