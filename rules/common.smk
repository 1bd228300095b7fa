import inspect
import os
import re
import sys
from pathlib import Path

from snakemake.common import overwrite_function_params
from snakemake.io import IOFile

from bitsweep import code_digest, duplicates, fingerprint, foresight, limits
from bitsweep.config import BASELINE
from bitsweep.config import load as load_config
from bitsweep.engines import install, targets
from bitsweep.engines.declared import ENGINES, has_task
from bitsweep.errors import UserError
from bitsweep.outcome import DEPENDS_ON, Experiment
from bitsweep.progress import Progress
from bitsweep.storage import shortage, try_writing

try:
    duplicates.refuse(
        [Path(workflow.basedir, "config/config.yaml"), *workflow.overwrite_configfiles]
    )
    CONFIG = load_config(config)
    foresight.check(CONFIG)
    targets.check(CONFIG)
    if CONFIG.compare:
        # Not where nothing is compared: pandas takes longer than a small workflow.
        from bitsweep.compare import reading

        reading.check(CONFIG.compare)
except UserError as error:
    sys.exit(f"Error: {error}")
if " " in sys.executable:
    sys.exit(
        f"Error: Snakemake cannot start scripts by {sys.executable!r}, whose path has a space; "
        "make the environment in a folder without one"
    )

code_digest.keep_in(Path(".snakemake/code"))

EXPERIMENTS = [experiment.model_dump() for experiment in CONFIG.experiments]
SENSITIVITIES = [experiment.model_dump() for experiment in CONFIG.sensitivities]
BITS = [CONFIG.bits(experiment) for experiment in CONFIG.experiments]
STAGES_OF = [CONFIG.stages(experiment) for experiment in CONFIG.experiments]
SEARCHES = [experiment.model_dump() for experiment in CONFIG.searches]
PROFILED = [
    experiment
    for experiment in EXPERIMENTS
    if has_task(experiment["engine"], "profile")
]

TABLES = multiext("results/tables/summary", ".csv", ".parquet", ".md") + [
    "results/tables/failures.csv"
]
PLOT_NAMES = ["latency", "accuracy", "size", "dtypes", "outcomes"]
PLOTS = expand("results/plots/{plot}.png", plot=PLOT_NAMES)
if PROFILED:
    TABLES.append("results/tables/layers.csv")
    PLOTS += expand("results/plots/{plot}.png", plot=["profile", "roofline"])
if SENSITIVITIES:
    TABLES.append("results/tables/sensitivity.csv")
    PLOTS.append("results/plots/sensitivity.png")
if SEARCHES:
    TABLES.append("results/tables/frontier.csv")
    PLOTS += expand("results/plots/{plot}.png", plot=["frontier", "allocation"])

# Where things lie: what is the model's, the engine's, and the experiment's own.
MODEL = "results/{model}/"
IMPORTED = "results/{model}/{engine}/"
ON_TARGET = "results/{model}/{engine}/{target}/"
EXPERIMENT = "results/{model}/{engine}/{target}/{precision}/"
FLOAT = EXPERIMENT.replace("{precision}", BASELINE)
LOGS = "results/logs/"
PEAKS = "results/machine/peaks.json"
OUTCOMES = {
    stage: f"results/{''.join(f'{{{key}}}/' for key in keys)}{stage}.json"
    for stage, keys in DEPENDS_ON.items()
}
ENGINE = ".engines/{engine}/engine.json"

TRACED = {"torchscript": "torchscript.pt", "exported": "exported.pt2"}

# PyTorch's threads in all jobs: those that wait take no core from the jobs beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# What one TVM process may use, and what its job needs beside it.
LIMIT_SECONDS = CONFIG.limits.seconds
LIMIT_MB = CONFIG.limits.memory_mb
JOB_MB = LIMIT_MB + 1000
JOB_MINUTES = LIMIT_SECONDS // 60 + 5
# A benchmark is as many processes, one after the other, each of which may use that.
BENCHMARK_MINUTES = CONFIG.benchmark.processes * LIMIT_SECONDS // 60 + 5

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
    engine=one_of(ENGINES),
    target=one_of(CONFIG.targets),
    precision=one_of([BASELINE, *CONFIG.precisions]),
    plot=one_of(PLOT_NAMES),


def script_of(rule):
    """The script of a rule, relative to the rules."""
    return CONFIG.stand_in or f"../workflow_scripts/{rule}.py"


def signed(function):
    """The function, with its parameters noted, which Snakemake else asks Python for at each job."""
    overwrite_function_params(function, inspect.signature(function).parameters)
    return function


def code_of(rule, engine=None):
    """A digest of the code that makes what a rule leaves, which an edit of the code changes.

    Its tasks are those of the engine in the wildcards, where none is named.
    """
    script = Path(workflow.basedir, "workflow_scripts", f"{rule}.py")
    return signed(
        lambda wildcards: code_digest.of_stage(
            script, engine or wildcards.get("engine")
        )
    )


def times_limits_raised(outcome):
    """What changes when a limit is raised that the stage with this outcome ran into."""

    def told(wildcards):
        path = outcome.format(**wildcards)
        return limits.raised(
            path,
            workflow.persistence.params(IOFile(path)),
            {"timeout": LIMIT_SECONDS, "memory": LIMIT_MB},
        )

    return signed(told)


def growing(amount):
    """What a job asks for: a job that a cluster killed for too little gets more the next time."""
    return signed(lambda wildcards, attempt: amount * attempt)


@signed
def model_settings(wildcards):
    """The settings that a model is made by: not which precisions it has."""
    return CONFIG.models[wildcards.model].model_dump(
        mode="json", exclude={"precisions"}
    )


def training_settings(wildcards):
    """The settings that a model is trained by, and looked at: a folder's splits are drawn by more."""
    model = CONFIG.models[wildcards.model]
    drawn = {"seed", "images", "calibration_images"}
    others = {"weights", "precisions"} | (drawn if model.data == "digits" else set())
    return model.model_dump(mode="json", exclude=others)


@signed
def model_input_shape(wildcards):
    return list(CONFIG.models[wildcards.model].input_shape)


@signed
def model_sources(wildcards):
    """The files of the user's, or of `train` or `download`, that a model is made from."""
    model = CONFIG.models[wildcards.model]
    return (
        [model.weights] * model.weights_are_path
        + [MODEL + "download.json"] * model.weights_are_downloaded
        + [model.data] * model.data_is_path
    )


def training_sources(wildcards):
    """The user's folder of images that a model is trained on."""
    model = CONFIG.models[wildcards.model]
    return [model.data] * model.data_is_path


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


@signed
def traced_network(wildcards):
    """The form of the traced network that the engine reads."""
    form = ENGINES[wildcards.engine].traced
    return {form: MODEL + TRACED[form]}


def engine_requirements(wildcards):
    """The requirements files of the engine's tool, by what they are for."""
    return ENGINES[wildcards.engine].requirements


def engine_path(wildcards):
    settings = CONFIG.engines.get(wildcards.engine)
    return settings.python_path if settings else None


def engine_build(wildcards):
    """What tells the user's tool, or the environment's, from the one that was there before it."""
    if path := engine_path(wildcards):
        is_tvm = ENGINES[wildcards.engine].uses_llvm
        return (fingerprint.of_tvm if is_tvm else fingerprint.of_folder)(Path(path))
    if environment := engine_requirements(wildcards).get("environment"):
        return [*install.installed(environment).values()]
    return None  # laid out by the rule itself, from its requirements


def experiment_of(wildcards):
    experiment = Experiment(**dict(wildcards.items()))
    precision = experiment.precision
    if not CONFIG.exists(experiment.engine, precision):
        raise WorkflowError(
            f"precision {precision} has no section for engine {experiment.engine}"
        )
    if not CONFIG.tunes(experiment.engine, experiment.target):
        raise WorkflowError(
            f"engine {experiment.engine} cannot tune by what target {experiment.target} asks for"
        )
    return experiment


@signed
def precision_settings(wildcards):
    """The settings that an experiment quantizes by; None for the baseline."""
    section = CONFIG.section(experiment_of(wildcards))
    return section and section.settings()


def goal(wildcards):
    """What an experiment searches for."""
    return CONFIG.goal(experiment_of(wildcards)).model_dump(mode="json")


def outcomes_before(stage, wildcards):
    """The outcomes that a stage between import and compile depends on."""
    stages = CONFIG.stages(experiment_of(wildcards))
    return [OUTCOMES[earlier] for earlier in stages[: stages.index(stage)]]


@signed
def before_search(wildcards):
    return outcomes_before("search", wildcards)


@signed
def before_quantize(wildcards):
    return outcomes_before("quantize", wildcards)


@signed
def statistics(wildcards):
    """The float network's statistics, for the precisions that rest on them."""
    if "calibrate" not in CONFIG.stages(experiment_of(wildcards)):
        return {}
    return {"statistics": IMPORTED + "statistics.npz"}


@signed
def plan(wildcards):
    """The plan that a search has left, for the precisions that are one."""
    if "search" not in CONFIG.stages(experiment_of(wildcards)):
        return {}
    return {"plan": EXPERIMENT + "plan.json"}


def times(wildcards):
    """What layers take, for the searches that ask for it."""
    if "time_layers" not in CONFIG.stages(experiment_of(wildcards)):
        return {}
    return {"times": ON_TARGET + "layer_times.json"}


@signed
def target_settings(wildcards):
    return CONFIG.targets[wildcards.target].model_dump(mode="json", exclude={"tuning"})


def tuning_settings(wildcards):
    return CONFIG.targets[wildcards.target].tuning.model_dump(mode="json")


def tuner(wildcards):
    """What tunes an experiment, None where nothing does."""
    tuned = "tune" in CONFIG.stages(experiment_of(wildcards))
    return CONFIG.targets[wildcards.target].tuning.by if tuned else None


@signed
def kept_measurements(wildcards):
    """Where tuning keeps what it has measured: no output, as those of a killed job are removed."""
    name = CONFIG.targets[wildcards.target].tuning.by + ".jsonl"
    return (LOGS + "{model}/{engine}/{target}/{precision}/" + name).format(**wildcards)


@signed
def tuning_seconds(wildcards):
    """The limit of a tuning process: beside what it may measure it does what others do."""
    return LIMIT_SECONDS + int(CONFIG.targets[wildcards.target].tuning.seconds)


@signed
def tuning_minutes(wildcards, attempt):
    return (tuning_seconds(wildcards) // 60 + 5) * attempt


@signed
def tuned(wildcards):
    """What tuning has left, for the targets that have it."""
    if tuner(wildcards) is None:
        return {}
    return {"log": EXPERIMENT + "tuning.log"}


@signed
def before_compile(wildcards):
    return [EXPERIMENT + "tune.json"] * bool(tuned(wildcards)) + [
        EXPERIMENT + "quantize.json"
    ]


@signed
def float_code(wildcards):
    """The baseline's evidence, to set an experiment's beside; the baseline has none before it."""
    if wildcards.precision == BASELINE:
        return {}
    return {"baseline": FLOAT + "code.json", "baseline_outcome": FLOAT + "inspect.json"}


@signed
def reference(wildcards):
    """The float32 of the engine that all are timed beside, where the sweep has it."""
    engine = CONFIG.benchmark.reference
    target = CONFIG.untuned(wildcards.target) or wildcards.target
    if engine not in CONFIG.sweep.engines or not CONFIG.tunes(engine, target):
        return {}
    folder = FLOAT.replace("{engine}", engine).replace("{target}", target)
    return {
        "reference_module": folder + "module.so",
        "reference_module_outcome": folder + "export.json",
        "reference_engine": ENGINE.replace("{engine}", engine),
    }


@signed
def untuned(wildcards):
    """The same module without tuning, to be timed beside, where the sweep has it."""
    target = CONFIG.untuned(wildcards.target)
    if target is None:
        return {}
    folder = EXPERIMENT.replace("{target}", target)
    return {
        "untuned_module": folder + "module.so",
        "untuned_module_outcome": folder + "export.json",
    }


def experiment_outcomes(wildcards):
    """Every file that the tables are made from."""
    left = ["latency.json", "quality.json", "code.json"]
    paths = [
        path.format(**experiment)
        for experiment, stages in zip(EXPERIMENTS, STAGES_OF, strict=True)
        for path in (
            MODEL + "model.json",
            *(OUTCOMES[stage] for stage in stages),
            *(EXPERIMENT + name for name in left),
            *[EXPERIMENT + "search_report.json"] * ("search" in stages),
        )
    ]
    return list(dict.fromkeys(paths))


def profiles(wildcards):
    """Every file that the table of operators is made from, but the machine's own."""
    return [
        (EXPERIMENT + name).format(**experiment)
        for experiment in PROFILED
        for name in ("profile.json", "operators.json")
    ]


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
            stages=[CONFIG.stages(experiment)],
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
    from bitsweep.profile import table as profiles
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
    folder = Path("results/tables")
    for name, read, one_line in (
        ("summary.parquet", tables.read_summary, tables.one_line),
        ("sensitivity.csv", sensitivity.read, tables.failed_line),
        ("layers.csv", profiles.read, tables.failed_line),
    ):
        path = folder / name
        table = read(path) if path.exists() else None
        if table is not None:
            for _, row in table[table["state"] == "failed"].iterrows():
                print(one_line(row), file=sys.stderr)
