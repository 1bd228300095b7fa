# How few bits can a classifier run on? `snakemake --cores 4` answers; see README.md.
import gc
import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")

# Scripts are processes of their own: they find the library, and own models in the working
# directory, by this path.
sys.path.insert(0, workflow.basedir)
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [workflow.basedir, os.getcwd(), os.environ.get("PYTHONPATH")])
)

# What Snakemake makes of a workflow stays to the end: a search for garbage seldom finds any.
gc.set_threshold(100_000)

from bitsweep import records, slurm, termination

# Snakemake has imported these by now: the executor plugin where it is installed, used or not.
if scheduling := sys.modules.get("snakemake.scheduling.job_scheduler"):
    termination.mend(scheduling.JobScheduler)
if persistence := sys.modules.get("snakemake.persistence"):
    records.mend(persistence.PersistenceBase)
plugin = sys.modules.get("snakemake_executor_plugin_slurm")
if hasattr(plugin, "query_job_status"):
    slurm.mend(plugin)
# Only a report needs it, and what it imports takes longer than a small workflow.
if any(argument.startswith("--report") for argument in sys.argv):
    from bitsweep import embedding

    embedding.register()


configfile: workflow.source_path("config/config.yaml")


report: "report/report.rst"


include: "rules/common.smk"
include: "rules/engine.smk"
include: "rules/train.smk"
include: "rules/download.smk"
include: "rules/trace.smk"
include: "rules/import.smk"
include: "rules/calibrate.smk"
include: "rules/frontier.smk"
include: "rules/search.smk"
include: "rules/quantize.smk"
include: "rules/tune.smk"
include: "rules/compile.smk"
include: "rules/export.smk"
include: "rules/benchmark.smk"
include: "rules/profile.smk"
include: "rules/evaluate.smk"
include: "rules/inspect.smk"
include: "rules/aggregate.smk"
include: "rules/plots.smk"
include: "rules/sensitivity.smk"
include: "rules/costs.smk"
include: "rules/time_layers.smk"
include: "rules/frontier_table.smk"
include: "rules/check.smk"
include: "rules/compare.smk"


localrules:
    all,
    engine,
    download,
    aggregate,
    plots,
    sensitivity_table,
    profile_table,
    frontier_table,
    check,
    compare_table,
    compare,


rule all:
    default_target: True
    input:
        TABLES,
        PLOTS,
        # Asked for, so that what a failed job or its user removed is made again.
        experiment_outcomes,
        profiles,
        sensitivity_outcomes,


onstart:
    require_room()
    drop_rate_limit()
    print_progress()


onsuccess:
    print_summary()
