"""Results of a sweep that nobody ran: the files that the stages would have left, and their rows."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bitsweep.inspection import LLVM_TYPES
from bitsweep.outcome import STAGES, Coverage, Experiment, Failure, Outcome, describe
from bitsweep.proportions import wilson_interval
from bitsweep.tables import collect

PRECISIONS = ("float32", "int8", "int4", "int2", "int1", "int4_in_int8", "int2_in_int8")
EARLIER = {"benchmark": "export", "evaluate": "export", "inspect": "export"} | {
    later: earlier
    for earlier, later in itertools.pairwise(
        ("trace", "import", "calibrate", "quantize", "compile", "export")
    )
}
MODELS = {
    "resnet50": {"weights": "seeded", "trained": False, "parameters": 25557032, "labelled": False},
    "digits": {"weights": "w.pt", "trained": True, "parameters": 19850, "labelled": True},
}
# Median latency on one thread-pair, ms, and share of the images with PyTorch's answer.
FIGURES = {
    "float32": (47.1, 1.0),
    "int8": (75.3, 0.953),
    "int4": (70.2, 0.61),
    "int2": (69.0, 0.30),
    "int1": (110.4, 0.016),
    "int4_in_int8": (80.2, 0.594),
    "int2_in_int8": (80.9, 0.141),
    "w4a8": (31.0, 0.93),
    "w2a8": (29.0, 0.72),
    "w1a8": (27.0, 0.11),
    "fewest_bits": (28.1, 0.985),
    "small": (27.5, 0.96),
    "hard": (27.5, 0.5),
}
# Bits of weights and activations, where the engines have the precision.
BITS = {
    "float32": (32, 32),
    "int8": (8, 8),
    "int4": (4, 4),
    "int2": (2, 2),
    "int1": (1, 1),
    "int4_in_int8": (4, 4),
    "int2_in_int8": (2, 2),
    "w4a8": (4, 8),
    "w2a8": (2, 8),
    "w1a8": (1, 8),
    **dict.fromkeys(("fewest_bits", "small", "hard"), (8, 8)),
}
MACS = 4_089_184_256
BUFFER_ACCESS = Failure(
    kind="exception",
    type="InternalError",
    message="Check failed: value_dtype.bits() >= 8 (4 vs. 8) : ",
    function="CodeGenLLVM::BufferAccessHelper",
    file="src/target/llvm/codegen_llvm.cc",
    line=1749,
    log="logs/resnet50/relay/cpu/int4/compile.log",
)
VECTOR_BYTES = Failure(
    kind="exception",
    type="InternalError",
    message="Check failed: data_bits % 8 == 0U (2 vs. 0) : Need to load/store by multiple of bytes",
    function="GetVectorBytes",
    file="include/tvm/runtime/data_type.h",
    line=283,
    log="logs/resnet50/relay/cpu/int2/quantize.log",
)
TIMEOUT = Failure(
    kind="timeout",
    type="Timeout",
    message="stopped after 1800 s",
    function="relay.quantize.quantize",
    log="logs/timeout.log",
    limit=1800,
)
# (stage, failure) by precision: what TVM typically does.
TYPICAL = {"int4": [("compile", BUFFER_ACCESS)], "int2": [("quantize", VECTOR_BYTES)]}

SHOWING_NO_CODE = ("onnxruntime", "openvino", "torch")

Failing = Mapping[str, Sequence[tuple[str, Failure]]]


def sweep(
    models: Sequence[str] = tuple(MODELS),
    engines: Sequence[str] = ("relay",),
    precisions: Sequence[str] = PRECISIONS,
) -> list[Experiment]:
    """Return the experiments of a sweep over the cpu."""
    return [
        Experiment(model=model, engine=engine, target="cpu", precision=precision)
        for model in models
        for engine in engines
        for precision in precisions
    ]


def leave(results: Path, experiments: Sequence[Experiment], failing: Failing = TYPICAL) -> None:
    """Write what the stages of `experiments` leave; `failing` tells by precision what fails."""
    for experiment in experiments:
        _leave_one(results, experiment, dict(failing.get(experiment.precision, ())))


def summarise(
    results: Path, experiments: Sequence[Experiment], failing: Failing = TYPICAL
) -> pd.DataFrame:
    """Return the summary of such results."""
    leave(results, experiments, failing)
    return collected(results, experiments)


def collected(results: Path, experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return the summary of results that are there."""
    return collect(experiments, results, bits=bits(experiments), stages=map(stages, experiments))


def stages(experiment: Experiment) -> list[str]:
    """Return the stages that an experiment goes through."""
    left_out = {"costs", "time_layers", "frontier", "search", "tune"}
    if experiment.precision == "float32":
        left_out.add("calibrate")
    return [stage for stage in STAGES if stage not in left_out]


def bits(experiments: Sequence[Experiment]) -> list[tuple[int, int]]:
    """Return the bits of weights and activations of each experiment."""
    return [BITS[experiment.precision] for experiment in experiments]


def _leave_one(results: Path, experiment: Experiment, failing: Mapping[str, Failure]) -> None:
    of_model = results / experiment.model
    of_engine = of_model / experiment.engine
    own = of_engine / experiment.target / experiment.precision
    folders = {"trace": of_model, "import": of_engine, "calibrate": of_engine}
    through = stages(experiment)
    earlier = EARLIER if "calibrate" in through else {**EARLIER, "quantize": "import"}
    artifacts = {
        "trace": {"model.json": MODELS.get(experiment.model, MODELS["resnet50"])},
        "export": {"module.so": "x" * _code(experiment)["sizes"]["module_bytes"]},
        "benchmark": {"latency.json": _latency(experiment)},
        "evaluate": {"quality.json": _quality(experiment)},
        "inspect": {"code.json": _code(experiment)},
    }
    why: dict[str, str] = {}  # stage -> the stage that failed
    for stage in through:
        folder = folders.get(stage, own)
        paths = [folder / name for name in artifacts.get(stage, {})]
        by = stage if stage in failing else why.get(earlier.get(stage, ""))
        if by:
            why[stage] = by
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            content = artifacts[stage][path.name]
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text("" if by else text, encoding="utf-8")
        Outcome(
            state="ok" if by is None else "failed" if by == stage else "skipped",
            stage=stage,
            experiment=experiment,
            seconds=1.5 * (1 + STAGES.index(stage)),
            peak_rss_bytes=10**8 * (1 + STAGES.index(stage)),
            artifacts=() if by else describe(paths),
            error=failing.get(stage),
            coverage=_coverage(experiment) if stage == "quantize" and by is None else None,
            skipped_by=None if by in (None, stage) else by,
        ).write(folder / f"{stage}.json")


def _coverage(experiment: Experiment) -> Coverage:
    if experiment.precision == "float32":
        return Coverage(macs=MACS, integer_macs=0, float_operators={"nn.conv2d": 1})
    return Coverage(
        macs=MACS,
        integer_macs=MACS * 3 // 4,
        float_operators={"nn.conv2d": 1},
        mean_weight_bits=5.5,
    )


def _scale(experiment: Experiment) -> float:
    """Return how much slower than resnet50 on relay a model and an engine are."""
    by_model = 0.002 if experiment.model == "digits" else 1.0
    return by_model * (1.2 if experiment.engine == "relax" else 1.0)


def _latency(experiment: Experiment) -> dict:
    median = FIGURES[experiment.precision][0] * _scale(experiment)
    float32 = FIGURES["float32"][0] * _scale(experiment)

    def block(median_ms: float) -> dict:
        return {
            "median_ms": median_ms,
            "mean_ms": median_ms * 1.01,
            "std_ms": median_ms * 0.05,
            "p90_ms": median_ms * 1.08,
            "p99_ms": median_ms * 1.3,
            "median_low_ms": median_ms * 0.98,
            "median_high_ms": median_ms * 1.03,
            "minimum_ms": median_ms * 0.95,
            "samples": 360,
        }

    paired = experiment.precision != "float32"
    ratio = float32 / median
    return {
        "inputs": 20,
        "runs_per_input": 18,
        "runs_requested": 30,
        "budget_seconds": 30,
        "cold": False,
        "stopped_by_budget": True,
        "disturbed": False,
        "steal_percent": 0.0,
        "others_percent": 1.5,
        "cpu_mhz": 2600.0,
        "threads": 2,
        "latency": block(median),
        "baseline": block(float32) if paired else None,
        "speedup": {"median": ratio, "low": ratio * 0.97, "high": ratio * 1.02} if paired else None,
        "reference": None,
        "reference_speedup": None,
        "reference_engine": "onnxruntime",
        "untuned": None,
        "untuned_speedup": None,
        "machine": {"cpu_model": "AMD EPYC 9B14", "node": "n1", "partition": None},
        "load_before": 0.4,
    }


def _quality(experiment: Experiment) -> dict:
    agreement = FIGURES[experiment.precision][1]
    labelled = MODELS.get(experiment.model, MODELS["resnet50"])["labelled"]
    degenerate = experiment.precision == "int1"
    exact = experiment.precision == "float32"
    images = 540 if labelled else 64
    low, high = wilson_interval(agreement, images)
    accuracy = _accuracy(agreement * 0.972, images, exact)
    return {
        "images": images,
        "top1_agreement": agreement,
        "top1_agreement_low": low,
        "top1_agreement_high": high,
        "top5_agreement": min(1.0, agreement * 1.1),
        "constant_agreement": 0.104 if labelled else 0.766,
        **(accuracy if labelled else dict.fromkeys(accuracy)),
        "sqnr_db": None if exact else 40.0 * agreement - 2,
        "centred_sqnr_db": None if exact else 40.0 * agreement - (2.3 if labelled else 14.9),
        "cosine": float("nan") if degenerate else agreement,
        "max_abs_error": 0.0 if exact else 1 - agreement,
        "degenerate": degenerate,
        "exact": exact,
    }


def _accuracy(accuracy: float, images: int, exact: bool) -> dict:
    low, high = wilson_interval(accuracy, images)
    gained = 0 if exact else 3
    return {
        "top1_accuracy": accuracy,
        "top1_accuracy_low": low,
        "top1_accuracy_high": high,
        "top5_accuracy": accuracy * 1.01,
        "reference_top1_accuracy": 0.972,
        "images_gained": gained,
        "images_lost": round((0.972 - accuracy) * images) + gained,
        "constant_accuracy": 0.102,
    }


def _code(experiment: Experiment) -> dict:
    shown = experiment.engine not in SHOWING_NO_CODE

    def block(precision: str) -> dict:
        integer = precision != "float32"
        size = 10_000 * _scale(experiment) * (0.27 if integer else 1.0)
        quantized = {"float": 800, "i8": 5200, "i16": 3300, "i32": 4100, "i64": 900}
        plain = {"float": 14200, "i32": 310, "i64": 880, "double": 12}
        dot = 640 if "int8" in precision else 0
        integers = {"instructions": 9000, "int_dot": dot, "vpdpbusd": dot, "float_fma": 38}
        floats = {"instructions": 8000, "int_dot": 0, "float_fma": 5120, "vfmadd231ps": 5120}
        return {
            "dtypes": dict.fromkeys(LLVM_TYPES, 0) | (quantized if integer else plain),
            "instructions": {"int_multiply": 210, "float_multiply": 90, "bit_count": 0}
            | (integers if integer else floats)
            if shown
            else None,
            "sizes": {
                "ir_bytes": 52_000,
                "params_bytes": int(size * 0.9),
                "llvm_ir_bytes": 3_100_000,
                "assembly_bytes": 2_400_000,
                "objects_bytes": int(size * 0.95),
                "module_bytes": int(size),
            },
        }

    return {
        "target": "x86_64-linux-gnu znver4" if shown else None,
        **block(experiment.precision),
        "float32": block("float32"),
    }
