import re
from pathlib import Path

from bitsweep.config import BASELINE
from bitsweep.config import load as load_config
from bitsweep.errors import UserError
from bitsweep.outcome import STAGES

try:
    CONFIG = load_config(config)
except UserError as error:
    raise WorkflowError(str(error)) from None

EXPERIMENT_STAGES = STAGES[2:]  # after those of the model and of its import
EXPERIMENTS = [experiment.model_dump() for experiment in CONFIG.experiments]

TABLES = multiext("results/tables/summary", ".csv", ".parquet", ".md") + [
    "results/tables/failures.csv"
]
PLOTS = expand(
    "results/plots/{plot}.png",
    plot=["latency", "accuracy", "size", "dtypes", "outcomes"],
)

# Where things lie: what is the model's, the engine's, and the experiment's own.
MODEL = "results/{model}/"
IMPORTED = "results/{model}/{engine}/"
EXPERIMENT = "results/{model}/{engine}/{target}/{precision}/"
FLOAT = EXPERIMENT.replace("{precision}", BASELINE)
LOGS = "results/logs/"
ENGINE = ".engines/{engine}/engine.json"

# What one TVM process may use, and what its job needs beside it.
LIMIT_SECONDS = CONFIG.limits.seconds
LIMIT_MB = CONFIG.limits.memory_mb
JOB_MB = LIMIT_MB + 1000
JOB_MINUTES = LIMIT_SECONDS // 60 + 5

# More than any machine has: Snakemake scales it down to all cores, so that nothing runs beside.
WHOLE_MACHINE = 4096


def one_of(names):
    """A regular expression for exactly these names."""
    return "|".join(map(re.escape, names))


wildcard_constraints:
    model=one_of(CONFIG.models),
    engine=one_of(CONFIG.sweep.engines),
    target=one_of(CONFIG.targets),
    precision=one_of([BASELINE, *CONFIG.precisions]),
    plot="[a-z]+",


def model_settings(wildcards):
    return CONFIG.models[wildcards.model].model_dump(mode="json")


def model_seed(wildcards):
    return CONFIG.models[wildcards.model].seed


def model_sources(wildcards):
    """The files of the user's, or of the rule `train`, that a model is made from."""
    model = CONFIG.models[wildcards.model]
    return [model.weights] * model.weights_are_path + [model.data] * model.data_is_path


def engine_path(wildcards):
    settings = CONFIG.engines.get(wildcards.engine)
    return settings.python_path if settings else None


def precision_settings(wildcards):
    """The settings of one precision; None for the baseline."""
    if wildcards.precision == BASELINE:
        return None
    return CONFIG.precisions[wildcards.precision].model_dump(mode="json")


def target_settings(wildcards):
    return CONFIG.targets[wildcards.target].model_dump(mode="json")


def float_code(wildcards):
    """The baseline's evidence, to set an experiment's beside; the baseline has none before it."""
    if wildcards.precision == BASELINE:
        return {}
    return {"baseline": FLOAT + "code.json", "baseline_outcome": FLOAT + "inspect.json"}


def experiment_outcomes(wildcards):
    """Every file that the tables are made from."""
    per_model = ["trace.json", "model.json"]
    per_import = ["import.json"]
    per_experiment = [
        *(f"{stage}.json" for stage in EXPERIMENT_STAGES),
        "latency.json",
        "quality.json",
        "code.json",
    ]
    paths = [
        (folder + name).format(**experiment)
        for experiment in EXPERIMENTS
        for folder, names in (
            (MODEL, per_model),
            (IMPORTED, per_import),
            (EXPERIMENT, per_experiment),
        )
        for name in names
    ]
    return list(dict.fromkeys(paths))


def expectations():
    """What is expected of each experiment, in the order of the tables' rows."""
    return [CONFIG.expected(experiment) for experiment in CONFIG.experiments]


def print_failures():
    """One line for each experiment that failed, at the end of a run."""
    summary = Path("results/tables/summary.parquet")
    if summary.exists():
        from bitsweep import tables

        table = tables.read_summary(summary)
        for _, row in table[table["state"] == "failed"].iterrows():
            print(tables.one_line(row), file=sys.stderr)
