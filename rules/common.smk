import re
import sys
from pathlib import Path

from snakemake.io import IOFile

from bitsweep import code_digest, duplicates, fingerprint, foresight, limits
from bitsweep.config import BASELINE
from bitsweep.config import load as load_config
from bitsweep.engines import TRACED_FORM, targets
from bitsweep.errors import UserError
from bitsweep.outcome import STAGES
from bitsweep.progress import Progress
from bitsweep.storage import shortage, try_writing

try:
    duplicates.refuse(
        [Path(workflow.basedir, "config/config.yaml"), *workflow.overwrite_configfiles]
    )
    CONFIG = load_config(config)
    foresight.check(CONFIG)
    targets.check(CONFIG)
except UserError as error:
    sys.exit(f"Error: {error}")
if " " in sys.executable:
    sys.exit(
        f"Error: Snakemake cannot start scripts by {sys.executable!r}, whose path has a space; "
        "make the environment in a folder without one"
    )

EXPERIMENT_STAGES = STAGES[3:]  # after those of the model and of the engine
EXPERIMENTS = [experiment.model_dump() for experiment in CONFIG.experiments]
SENSITIVITIES = [experiment.model_dump() for experiment in CONFIG.sensitivities]
BITS = [CONFIG.bits(experiment) for experiment in CONFIG.experiments]
CALIBRATED = [CONFIG.is_calibrated(experiment) for experiment in CONFIG.experiments]

TABLES = multiext("results/tables/summary", ".csv", ".parquet", ".md") + [
    "results/tables/failures.csv"
]
PLOT_NAMES = ["latency", "accuracy", "size", "dtypes", "outcomes"]
PLOTS = expand("results/plots/{plot}.png", plot=PLOT_NAMES)
if SENSITIVITIES:
    TABLES.append("results/tables/sensitivity.csv")
    PLOTS.append("results/plots/sensitivity.png")

# Where things lie: what is the model's, the engine's, and the experiment's own.
MODEL = "results/{model}/"
IMPORTED = "results/{model}/{engine}/"
ON_TARGET = "results/{model}/{engine}/{target}/"
EXPERIMENT = "results/{model}/{engine}/{target}/{precision}/"
FLOAT = EXPERIMENT.replace("{precision}", BASELINE)
LOGS = "results/logs/"
ENGINE = ".engines/{engine}/engine.json"

TRACED = {"torchscript": "torchscript.pt", "exported": "exported.pt2"}
ENGINE_REQUIREMENTS = {
    "relay": {
        "wheel": "requirements/relay-wheel.txt",
        "dependencies": "requirements/relay-dependencies.txt",
    },
    "relax": {"environment": "requirements/relax.txt"},
}

# What one TVM process may use, and what its job needs beside it.
LIMIT_SECONDS = CONFIG.limits.seconds
LIMIT_MB = CONFIG.limits.memory_mb
JOB_MB = LIMIT_MB + 1000
JOB_MINUTES = LIMIT_SECONDS // 60 + 5

# More than any machine has: Snakemake scales it down to all cores, so that nothing runs beside.
WHOLE_MACHINE = 4096
# The same for Slurm: its plugin asks for no number of CPUs, so that a job that has its node
# exclusively (profiles/slurm) may use all of them.
WHOLE_NODE = -1


def one_of(names):
    """A regular expression for exactly these names."""
    return "|".join(map(re.escape, names))


wildcard_constraints:
    model=one_of(CONFIG.models),
    engine=one_of(CONFIG.sweep.engines),
    target=one_of(CONFIG.targets),
    precision=one_of([BASELINE, *CONFIG.precisions]),
    plot=one_of(PLOT_NAMES),


def script_of(rule):
    """The script of a rule, relative to the rules."""
    return CONFIG.stand_in or f"../workflow_scripts/{rule}.py"


def code_of(rule):
    """A digest of the code that makes what a rule leaves, which an edit of the code changes."""
    script = Path(workflow.basedir, "workflow_scripts", f"{rule}.py")
    return lambda wildcards: code_digest.of_stage(script, wildcards.get("engine"))


def times_limits_raised(outcome):
    """What changes when a limit is raised that the stage with this outcome ran into."""

    def told(wildcards):
        path = outcome.format(**wildcards)
        return limits.raised(
            path,
            workflow.persistence.params(IOFile(path)),
            {"timeout": LIMIT_SECONDS, "memory": LIMIT_MB},
        )

    return told


def growing(amount):
    """What a job asks for: a job that a cluster killed for too little gets more the next time."""
    return lambda wildcards, attempt: amount * attempt


def model_settings(wildcards):
    return CONFIG.models[wildcards.model].model_dump(mode="json")


def model_input_shape(wildcards):
    return list(CONFIG.models[wildcards.model].input_shape)


def model_seed(wildcards):
    return CONFIG.models[wildcards.model].seed


def model_sources(wildcards):
    """The files of the user's, or of `train` or `download`, that a model is made from."""
    model = CONFIG.models[wildcards.model]
    return (
        [model.weights] * model.weights_are_path
        + [MODEL + "download.json"] * model.weights_are_downloaded
        + [model.data] * model.data_is_path
    )


def own_network(wildcards):
    """A digest of the user's code that builds the model, None for one of torchvision's."""
    name, colon, _ = CONFIG.models[wildcards.model].factory.partition(":")
    return (
        code_digest.of_module(name, Path(workflow.basedir), Path.cwd())
        if colon
        else None
    )


def own_images(wildcards):
    """What tells whether a file changed in the user's folder of images, None where there is none."""
    model = CONFIG.models[wildcards.model]
    folder = Path(model.data)
    return (
        fingerprint.of_folder(folder)
        if model.data_is_path and folder.is_dir()
        else None
    )


def traced_network(wildcards):
    """The form of the traced network that the engine reads."""
    form = TRACED_FORM[wildcards.engine]
    return {form: MODEL + TRACED[form]}


def engine_requirements(wildcards):
    """The requirements files of the engine's TVM, by what they are for."""
    return ENGINE_REQUIREMENTS[wildcards.engine]


def engine_path(wildcards):
    settings = CONFIG.engines.get(wildcards.engine)
    return settings.python_path if settings else None


def engine_build(wildcards):
    """What tells the user's TVM, or the environment's, from the one that was there before it."""
    if path := engine_path(wildcards):
        return fingerprint.of_tvm(Path(path))
    if "environment" in engine_requirements(wildcards):
        return [code_digest.version(package) for package in ("tvm", "tvm_ffi")]
    return None  # laid out by the rule itself, from its requirements


def precision_settings(wildcards):
    """The settings of one precision for one engine; None for the baseline."""
    if wildcards.precision == BASELINE:
        return None
    section = getattr(CONFIG.precisions[wildcards.precision], wildcards.engine)
    if section is None:
        raise WorkflowError(
            f"precision {wildcards.precision} has no section for engine {wildcards.engine}"
        )
    return section.settings()


def is_calibrated(wildcards):
    """Whether a precision rests on the statistics that the rule `calibrate` gathers."""
    if wildcards.precision == BASELINE:
        return False
    section = getattr(CONFIG.precisions[wildcards.precision], wildcards.engine)
    return section is not None and section.is_calibrated


def statistics(wildcards):
    """The float network's statistics, for the precisions that rest on them."""
    if not is_calibrated(wildcards):
        return {}
    return {"statistics": IMPORTED + "statistics.npz"}


def before_quantize(wildcards):
    """The outcomes that quantize depends on."""
    stages = ["import", "calibrate"] if is_calibrated(wildcards) else ["import"]
    return [MODEL + "trace.json", *(f"{IMPORTED}{stage}.json" for stage in stages)]


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
    per_calibrated = ["calibrate.json"]
    per_experiment = [
        *(f"{stage}.json" for stage in EXPERIMENT_STAGES),
        "latency.json",
        "quality.json",
        "code.json",
    ]
    paths = [
        (folder + name).format(**experiment)
        for experiment, calibrated in zip(EXPERIMENTS, CALIBRATED, strict=True)
        for folder, names in (
            (MODEL, per_model),
            (IMPORTED, per_import),
            (IMPORTED, per_calibrated if calibrated else []),
            (EXPERIMENT, per_experiment),
        )
        for name in names
    ]
    return list(dict.fromkeys(paths))


def sensitivity_outcomes(wildcards):
    """Every file that the table of sensitivities is made from."""
    return [
        (EXPERIMENT + name).format(**experiment)
        for experiment in SENSITIVITIES
        for name in ("sensitivity.json", "layers.json")
    ]


def expectations():
    """What is expected of each experiment, in the order of the tables' rows."""
    return [CONFIG.expected(experiment) for experiment in CONFIG.experiments]


def require_room():
    """Refuse to start where a file system is full, or that of the results read-only."""
    if full := shortage(["results"]):
        raise WorkflowError(full)
    try:
        try_writing("results")
    except FileNotFoundError:
        pass  # they are yet to be made
    except OSError as error:
        raise WorkflowError(f"results cannot be written to: {error.strerror}") from None


def drop_rate_limit():
    """Let Snakemake start jobs without its default limit, a hundred a second, which none here nears.

    For the limit's sake it looks for jobs to start once a second, and once more for each job that
    has ended: a long run comes to spend a core on that, beside the benchmarks.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def print_progress():
    """From now on, a line for each experiment that is finished."""
    if CONFIG.stand_in:
        return
    from snakemake.logging import logger

    def tell(experiment):
        from bitsweep import tables

        table = tables.collect(
            [experiment],
            "results",
            bits=[CONFIG.bits(experiment)],
            calibrated=[CONFIG.is_calibrated(experiment)],
        )
        return tables.one_line(table.iloc[0])

    dag = workflow.dag
    jobs = [(dag.jobid(job), job) for job in dag.needrun_jobs()]
    logger.addHandler(Progress(jobs, tell))


def print_summary():
    """The summary, at the end of a run, each warning, and a line for each failure."""
    if CONFIG.stand_in:
        return
    from bitsweep import sensitivity, tables
    from bitsweep.summary import terminal

    summary = Path("results/tables/summary.parquet")
    if summary.exists():
        try:
            table = tables.read_summary(summary)
        except UserError as error:
            print(f"Warning: {error}", file=sys.stderr)
            return
        print(f"\n{terminal(table)}\n", file=sys.stderr)
        for sentence in tables.warnings(table):
            print(f"Warning: {sentence}", file=sys.stderr)
    for path, read, one_line in (
        (summary, tables.read_summary, tables.one_line),
        (
            Path("results/tables/sensitivity.csv"),
            sensitivity.read,
            sensitivity.one_line,
        ),
    ):
        table = read(path) if path.exists() else None
        if table is not None:
            for _, row in table[table["state"] == "failed"].iterrows():
                print(one_line(row), file=sys.stderr)
