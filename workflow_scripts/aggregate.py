from bitsweep import report, summary, tables
from bitsweep.artifact import write_text
from bitsweep.explanation.sentence import explained
from bitsweep.outcome import Experiment
from bitsweep.profile import table as profiles
from bitsweep.script import script

with script(snakemake):
    experiments = [Experiment(**experiment) for experiment in snakemake.params.experiments]
    table = tables.collect(
        experiments,
        "results",
        bits=snakemake.params.bits,
        stages=snakemake.params.stages,
    )
    profiled = [Experiment(**experiment) for experiment in snakemake.params.profiled]
    layers = profiles.collect(profiled, "results", snakemake.input.peaks)
    table = explained(table, layers, "results")
    tables.write(table, snakemake.output.summary_csv)
    tables.write(table, snakemake.output.summary_parquet)
    tables.write(tables.failures(table), snakemake.output.failures)
    write_text(snakemake.output.summary_md, summary.markdown(table))
    write_text(snakemake.output.answers, report.opening(table))
