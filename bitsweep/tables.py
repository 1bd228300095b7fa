"""The summary: one tidy row per experiment, failed or not, gathered from what the stages left."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from bitsweep import pairs
from bitsweep.answer.sentence import sentence
from bitsweep.artifact import replacing
from bitsweep.errors import UserError
from bitsweep.inspection import GROUPS, LLVM_TYPES
from bitsweep.outcome import DEPENDS_ON, KEYS, STAGES, Experiment, Failure, Outcome, read, verify

_SIZES = ("ir", "params", "llvm_ir", "assembly", "objects")

# What a latency was measured under, by name in `latency.json` and in the summary.
_SURROUNDINGS = {
    "budget_seconds": "Float64",
    "cold": "boolean",
    "stopped_by_budget": "boolean",
    "disturbed": "boolean",
    "steal_percent": "Float64",
    "others_percent": "Float64",
    "load_before": "Float64",
    "cpu_mhz": "Float64",
    "threads": "Int64",
}

# Columns by name, in order, with the nullable dtype that survives CSV and Parquet.
_COLUMNS: dict[str, str] = {
    "model": "string",
    "weights": "string",
    "trained": "boolean",
    "parameters": "Int64",
    "labelled": "boolean",
    "engine": "string",
    "target": "string",
    "precision": "string",
    "weight_bits": "Int64",
    "activation_bits": "Int64",
    "state": "string",
    "failed_stage": "string",
    **{f"error_{field}": "string" for field in ("kind", "type", "message", "function", "file")},
    "error_line": "Int64",
    "error_limit": "Float64",
    "error_log": "string",
    "other_failures": "string",
    "latency_median_ms": "Float64",
    "latency_low_ms": "Float64",
    "latency_high_ms": "Float64",
    "latency_mean_ms": "Float64",
    "latency_std_ms": "Float64",
    "latency_p90_ms": "Float64",
    "latency_p99_ms": "Float64",
    "speedup_vs_float32": "Float64",
    "speedup_low": "Float64",
    "speedup_high": "Float64",
    "speedup_vs_reference": "Float64",
    "reference_speedup_low": "Float64",
    "reference_speedup_high": "Float64",
    "reference": "string",
    "speedup_vs_untuned": "Float64",
    "untuned_speedup_low": "Float64",
    "untuned_speedup_high": "Float64",
    "inputs": "Int64",
    "runs": "Int64",
    **_SURROUNDINGS,
    "cpu_model": "string",
    "node": "string",
    "partition": "string",
    "compiled_for": "string",
    "images": "Int64",
    "top1_accuracy": "Float64",
    "top1_accuracy_low": "Float64",
    "top1_accuracy_high": "Float64",
    "top5_accuracy": "Float64",
    "reference_top1_accuracy": "Float64",
    "images_gained": "Int64",
    "images_lost": "Int64",
    "accuracy_difference": "Float64",
    "accuracy_difference_low": "Float64",
    "accuracy_difference_high": "Float64",
    "accuracy_difference_p": "Float64",
    "constant_accuracy": "Float64",
    "top1_agreement": "Float64",
    "top1_agreement_low": "Float64",
    "top1_agreement_high": "Float64",
    "top5_agreement": "Float64",
    "constant_agreement": "Float64",
    "sqnr_db": "Float64",
    "centred_sqnr_db": "Float64",
    "cosine": "Float64",
    "max_abs_error": "Float64",
    "degenerate": "boolean",
    "exact": "boolean",
    "integer_macs_percent": "Float64",
    "mean_weight_bits": "Float64",
    "module_size_bytes": "Int64",
    "size_vs_float32": "Float64",
    **{f"{name}_bytes": "Int64" for name in _SIZES},
    **{f"llvm_{dtype}": "Int64" for dtype in LLVM_TYPES},
    "instructions": "Int64",
    **{f"{group}_instructions": "Int64" for group in GROUPS},
    "answer": "string",
    "explanation": "string",
    "peak_rss_bytes": "Int64",
    **{f"{stage}_state": "string" for stage in STAGES},
    **{f"{stage}_seconds": "Float64" for stage in STAGES},
}


def collect(
    experiments: Iterable[Experiment],
    results: Path | str,
    *,
    bits: Iterable[tuple[int, int]],
    stages: Iterable[Collection[str]],
) -> pd.DataFrame:
    """Return one row per experiment, in the order given, from the files under `results`.

    `bits` are those of each experiment's weights and activations, as the config has them, and
    `stages` those of `STAGES` that it goes through; the others are NA.
    `state` is `ok` or `failed`, `failed_stage` the first stage that failed and `error_*` its
    error; benchmark, evaluate and inspect do not depend on each other, so what a second of them
    failed with is in `other_failures` (JSON) and `failures` tells it. A figure that a failed stage
    would have left is missing (NA), and so is a figure that is not a number; latencies are in ms,
    accuracies and agreements fractions, counts of LLVM types and instructions as in the module; a
    search has its `answer`, a sentence.
    Raises `UserError` when an outcome or an artifact is not what its stage left.
    """
    rows = [
        _row(experiment, Path(results), own)
        | {"weight_bits": weights, "activation_bits": activations}
        for experiment, (weights, activations), own in zip(experiments, bits, stages, strict=True)
    ]
    return _typed(pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object))


def failures(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per failed stage: the keys, `stage`, and the fields of its `Failure`."""
    fields = list(Failure.model_fields)
    rows = []
    for row in _present(summary[summary["state"] == "failed"]):
        key = {name: row[name] for name in KEYS}
        first = {field: row.get(f"error_{field}") for field in fields}
        rows.append({**key, "stage": row["failed_stage"], **first})
        rows += [{**key, **other} for other in json.loads(row.get("other_failures", "[]"))]
    dtypes = dict.fromkeys((*KEYS, "stage", *fields), "string")
    dtypes |= {"line": "Int64", "limit": "Float64"}
    return pd.DataFrame(rows, columns=list(dtypes), dtype=object).astype(dtypes)


def one_line(row: pd.Series) -> str:
    """Return a row of the summary as one line, for terminals: what failed and where, or figures."""
    row = row.dropna()
    name = experiment_name(row)
    if row["state"] == "failed":
        reason = check(row.get("error_message") or row["error_kind"])
        where = place(row.get("error_function"), row.get("error_file"), row.get("error_line"))
        return f"{name} failed@{row['failed_stage']}: " + ": ".join(filter(None, (where, reason)))
    told = [f"{row['latency_median_ms']:.4g} ms"] if "latency_median_ms" in row else []
    if "speedup_vs_float32" in row:
        told.append(f"{row['speedup_vs_float32']:.2f}x float32")
    if "top1_accuracy" in row:
        told.append(f"top-1 accuracy {share(row, 'top1_accuracy')}")
    elif "top1_agreement" in row:
        told.append(
            f"top-1 agreement {share(row, 'top1_agreement')} "
            f"(a constant's {row['constant_agreement']:.1%})"
        )
    if "sqnr_db" in row:
        told.append(f"SQNR {row['sqnr_db']:z.1f} dB")
    if "module_size_bytes" in row:
        told.append(f"{row['module_size_bytes'] / 1e6:#.3g} MB")
    told += [name for name in ("degenerate", "disturbed") if row.get(name, False)]
    return f"{name} ok: " + ", ".join(told) if told else f"{name} ok"


def warnings(summary: pd.DataFrame) -> list[str]:
    """Return sentences on latencies of a model that stand side by side but cannot be compared.

    Those of different CPU models, where speed-ups can be, which are paired, each on one machine,
    and those taken while others used the CPUs.
    """
    sentences = []
    for model, group in summary.dropna(subset=["latency_median_ms"]).groupby("model", sort=False):
        cpus = group["cpu_model"].fillna("an unnamed CPU")
        if cpus.nunique() > 1:
            counts = ", ".join(f"{cpu} ({count})" for cpu, count in cpus.value_counts().items())
            sentences.append(
                f"latencies of {model} are from different CPU models: {counts}; compare "
                "speed-ups only, or have all benchmarks on one type of node"
            )
        disturbed = group[group["disturbed"].fillna(False)]
        if len(disturbed):
            names = ", ".join(
                "/".join(row[key] for key in KEYS[1:]) for _, row in disturbed.iterrows()
            )
            sentences.append(
                f"latencies of {model} were taken while others used the CPUs: {names}; have them "
                "measured again on a quiet machine"
            )
    return sentences


def experiment_name(row: pd.Series) -> str:
    """Return the experiment of a row as its path under the results."""
    return "/".join(row[key] for key in KEYS)


def share(row: pd.Series, name: str) -> str:
    """Return a share of the images in percent, with its 95% interval: `98.9% [97.6, 99.5]`."""
    low, high = (100 * row[f"{name}_{end}"] for end in ("low", "high"))
    return f"{row[name]:.1%} [{low:.1f}, {high:.1f}]"


def failed_line(row: pd.Series) -> str:
    """Return a row of what failed, of a table other than the summary, as one line for terminals."""
    error = "" if pd.isna(row["error"]) else f": {row['error']}"
    return f"{experiment_name(row)} failed@{row['failed_stage']}{error}"


def reason(left: Outcome) -> str | None:
    """Return where in TVM a stage failed, and the check's own message, None where it did not."""
    if left.error is None:
        return None
    where = place(left.error.function, left.error.file, left.error.line)
    return ": ".join(filter(None, (where, check(left.error.message))))


def place(function: str | None, file: str | None, line: int | None) -> str:
    """Return where in TVM something failed, as `function (file:line)`, with what is known of it."""
    source = f"{file}:{line}" if file and line else file or ""
    return f"{function} ({source})" if function and source else function or source


def check(message: str) -> str:
    """Return an error's message on one line, from TVM's `Check failed` on where it has one."""
    line = " ".join(message.split())
    start = line.find("Check failed")
    return line[max(start, 0) :].rstrip(" :")


def write(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table as CSV or Parquet, which the suffix of `path` tells, atomically."""
    with replacing(path) as temporary:
        if temporary.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False, lineterminator="\n")


def read_summary(path: Path | str) -> pd.DataFrame:
    """Read a summary that `write` wrote, CSV or Parquet, with the dtypes of `collect`.

    Raises `UserError` for one that another version of bitsweep wrote, with other columns.
    """
    if Path(path).suffix == ".parquet":
        table = pd.read_parquet(path)
    else:
        table = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    for column in _COLUMNS:
        if column not in table:
            raise UserError(f"{path} is of another version: it has no {column}; make it again")
    return _typed(table)


def _row(experiment: Experiment, results: Path, stages: Collection[str]) -> dict[str, object]:
    own = results / str(experiment)
    outcomes = {
        stage: _outcome(
            results.joinpath(*(getattr(experiment, key) for key in DEPENDS_ON[stage]))
            / f"{stage}.json",
            stage,
        )
        for stage in STAGES
        if stage in stages
    }
    failed = {s: outcome.error for s, outcome in outcomes.items() if outcome.state == "failed"}
    broken = [o.failed_stage for o in outcomes.values() if o.state != "ok"]
    row: dict[str, object] = {key: getattr(experiment, key) for key in KEYS}
    row |= {"state": "failed" if broken else "ok"}
    if broken:
        first = broken[0]
        error = _error(failed.pop(first))
        others = [{"stage": s, **_error(e)} for s, e in failed.items()]
        row |= {"failed_stage": first, **{f"error_{k}": v for k, v in error.items()}}
        row |= {"other_failures": json.dumps(others) if others else None}
    for stage, outcome in outcomes.items():
        row[f"{stage}_state"] = outcome.state
        row[f"{stage}_seconds"] = outcome.seconds if outcome.state != "skipped" else None
    row["peak_rss_bytes"] = max(outcome.peak_rss_bytes for outcome in outcomes.values())
    for stage, path, figures in (
        ("trace", results / experiment.model / "model.json", _model),
        ("benchmark", own / "latency.json", _latency),
        ("evaluate", own / "quality.json", _quality),
        ("inspect", own / "code.json", _code),
    ):
        if outcomes[stage].state == "ok":
            row |= figures(_payload(outcomes[stage], path))
    if coverage := outcomes["quantize"].coverage:
        row["mean_weight_bits"] = coverage.mean_weight_bits
        row["integer_macs_percent"] = 100 * coverage.integer_macs / max(coverage.macs, 1)
    for artifact in outcomes["export"].artifacts:
        if Path(artifact.path).name == "module.so":
            row["module_size_bytes"] = artifact.size_bytes
    if searched := outcomes.get("search"):
        found = searched.state == "ok"
        report = _payload(searched, own / "search_report.json") if found else None
        row["answer"] = sentence(row, report)
    return row


def _error(failure: Failure) -> dict[str, object]:
    # A lone carriage return, which pandas does not quote, would end the row of a CSV file.
    lines = failure.message.replace("\r\n", "\n").replace("\r", "\n")
    return failure.model_dump() | {"message": lines}


def _outcome(path: Path, stage: str) -> Outcome:
    try:
        outcome = read(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the workflow again") from None
    if outcome.stage != stage or (outcome.state == "failed") != (outcome.error is not None):
        raise UserError(f"{path} is not an outcome of {stage}; delete it and run again")
    return outcome


def _payload(outcome: Outcome, path: Path) -> dict:
    verify([outcome], [path])
    return json.loads(path.read_text(encoding="utf-8"))


def _model(model: dict) -> dict[str, object]:
    return {name: model[name] for name in ("weights", "trained", "parameters", "labelled")}


def _latency(payload: dict) -> dict[str, object]:
    latency, speedup = payload["latency"], payload["speedup"] or {}
    beside = payload["reference_speedup"] or {}
    untuned = payload["untuned_speedup"] or {}
    return {
        "latency_median_ms": latency["median_ms"],
        "latency_low_ms": latency["median_low_ms"],
        "latency_high_ms": latency["median_high_ms"],
        **{f"latency_{name}_ms": latency[f"{name}_ms"] for name in ("mean", "std", "p90", "p99")},
        "speedup_vs_float32": speedup.get("median"),
        "speedup_low": speedup.get("low"),
        "speedup_high": speedup.get("high"),
        "speedup_vs_reference": beside.get("median"),
        "reference_speedup_low": beside.get("low"),
        "reference_speedup_high": beside.get("high"),
        "reference": payload["reference_engine"] if beside else None,
        "speedup_vs_untuned": untuned.get("median"),
        "untuned_speedup_low": untuned.get("low"),
        "untuned_speedup_high": untuned.get("high"),
        "inputs": payload["inputs"],
        "runs": payload["inputs"] * payload["runs_per_input"],
        **{name: payload[name] for name in _SURROUNDINGS},
        **{name: payload["machine"][name] for name in ("cpu_model", "node", "partition")},
    }


def _quality(payload: dict) -> dict[str, object]:
    figures = {name: value for name, value in payload.items() if name in _COLUMNS}
    if figures["images_gained"] is None:
        return figures
    gained, lost, images = (figures[f"images{which}"] for which in ("_gained", "_lost", ""))
    return figures | pairs.difference(gained, lost, images)


def _code(payload: dict) -> dict[str, object]:
    sizes, counts, float32 = payload["sizes"], payload["instructions"] or {}, payload["float32"]
    return {
        "compiled_for": payload["target"],
        **{f"{name}_bytes": sizes[f"{name}_bytes"] for name in _SIZES},
        "size_vs_float32": float32 and sizes["module_bytes"] / float32["sizes"]["module_bytes"],
        **{f"llvm_{dtype}": payload["dtypes"][dtype] for dtype in LLVM_TYPES},
        "instructions": counts.get("instructions"),
        **{f"{group}_instructions": counts.get(group) for group in GROUPS},
    }


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            column: pd.array([_value(value, dtype) for value in table[column]], dtype=dtype)
            for column, dtype in _COLUMNS.items()
        }
    )


def _value(value: object, dtype: str) -> object:
    """Return a value, or its text in a CSV file, as a Python object of a column's dtype."""
    if pd.isna(value) or value == "":
        return pd.NA
    if dtype == "boolean":
        return str(value) == "True"
    if dtype == "Int64":
        return int(value)
    return float(value) if dtype == "Float64" else str(value)


def _present(table: pd.DataFrame) -> list[dict[str, object]]:
    """Return a table's rows as dicts without what is missing."""
    return [row.dropna().to_dict() for _, row in table.iterrows()]
