"""The summary in Markdown: what ran, what it cost, what failed and where, how it was measured."""

import itertools

import pandas as pd
from tabulate import tabulate

from bitsweep import gains
from bitsweep.bootstrap import MINIMUM
from bitsweep.disturbance import OF_CPU_TIME, OF_ROUNDS
from bitsweep.pairs import CHANCE, mcnemar_p
from bitsweep.proportions import wilson_interval
from bitsweep.tables import check, experiment_name, failures, place, share, warnings

_UNTRAINED = "untrained weights: seeded initialisation; accuracy has no meaning, agreement does"
_DEGENERATE = "no better than one answer for all images"
_OVER_REFERENCE = ("speedup_vs_reference", "reference_speedup_low")
_OVER_UNTUNED = ("speedup_vs_untuned", "untuned_speedup_low")
_POINTS = (
    "Points: of top-1 accuracy, from float32's on the same images; * more than chance "
    f"(McNemar's exact test, p < {CHANCE})."
)


def markdown(summary: pd.DataFrame) -> str:
    """Return the report on a summary (`tables.collect`) as Markdown."""
    parts = ["# bitsweep: what became of every bit width", _verdict(summary)]
    parts += [f"**Warning:** {sentence}." for sentence in warnings(summary)]
    if told := answers(summary):
        parts += ["## The answer", "\n".join(f"- {answer}." for answer in told)]
    if tuned := gains.sentences(summary):
        parts += ["## What tuning gives", "\n".join(f"- {gain}." for gain in tuned)]
    for model, of_model in summary.groupby("model", sort=False):
        parts += [f"## {model}", _about(of_model)]
        for (engine, target), group in of_model.groupby(["engine", "target"], sort=False):
            parts += [f"### {model}, {engine}, {target}", _table(group), *_why(group)]
            parts += surroundings(group)
    return "\n\n".join([*parts, _failures(summary), _measured(summary)]) + "\n"


def terminal(summary: pd.DataFrame) -> str:
    """Return a row per experiment as a table for terminals."""
    of = _over_reference(summary)
    rows = [
        {
            "experiment": experiment_name(row),
            "outcome": "degenerate" if _is(row["degenerate"]) else _outcome(row).strip("*"),
            "ms": _figure(row["latency_median_ms"], "#.4g"),
            "speed-up": _figure(row["speedup_vs_float32"], ".2f"),
            **({of: _figure(row["speedup_vs_reference"], ".2f")} if of else {}),
            "top-1": _figure(row["top1_accuracy"], ".1%"),
            "points": _points(row, interval=False),
            "agrees": _figure(row["top1_agreement"], ".1%"),
            "SQNR, dB": _figure(row["sqnr_db"], "z.1f"),
            "MB": _figure(row["module_size_bytes"] / 1e6, "#.3g"),
        }
        for _, row in summary.iterrows()
    ]
    align = ["left", "left", *["right"] * (len(rows[0]) - 2)] if rows else None
    table = tabulate(rows, "keys", "simple", colalign=align, disable_numparse=True)
    told = [_POINTS] if summary["accuracy_difference"].notna().any() else []
    found = "\n".join(answers(summary) + gains.sentences(summary))
    return "\n\n".join(filter(None, [table, *told, *surroundings(summary), found]))


def answers(summary: pd.DataFrame) -> list[str]:
    """Return the sentence that each search ends with, and which search it is."""
    searches = summary.dropna(subset=["answer"])
    several = searches["target"].nunique() > 1
    return [
        f"{row['answer']} ({row['target'] + '/' if several else ''}{row['precision']})"
        for _, row in searches.iterrows()
    ]


def surroundings(rows: pd.DataFrame) -> list[str]:
    """Return a sentence for each machine that latencies of these rows were taken on, and how."""
    sentences = []
    measured = rows.dropna(subset=["latency_median_ms"])
    for (cpu, node, threads, cold), group in measured.groupby(
        ["cpu_model", "node", "threads", "cold"], sort=False, dropna=False
    ):
        told = [
            f"Timed on {_cpu(cpu)}" + ("" if pd.isna(node) else f" ({node})"),
            f"{threads} threads",
            f"{_range(group['budget_seconds'], ' s')} each",
            f"caches {'cold' if cold else 'warm'}",
            f"load before {_range(group['load_before'])}",
        ]
        if group["others_percent"].notna().any():
            others, steal = (_range(group[f"{name}_percent"], "%") for name in ("others", "steal"))
            told.append(f"other processes {others} and stolen {steal} of the CPU time")
        if group["cpu_mhz"].notna().any():
            told.append(f"clock {_range(group['cpu_mhz'], ' MHz')}")
        share = "" if len(group) == len(measured) else f" ({len(group)} of {len(measured)})"
        sentences.append(", ".join(told) + f"{share}.")
    return sentences


def _cpu(model: object) -> str:
    return "an unnamed CPU" if pd.isna(model) else str(model)


def _verdict(summary: pd.DataFrame) -> str:
    failed = int((summary["state"] == "failed").sum())
    degenerate = int(summary["degenerate"].fillna(False).sum())
    return (
        f"{len(summary)} experiments: {len(summary) - failed} ran, of which {degenerate} "
        f"degenerate ({_DEGENERATE}), and {failed} failed."
    )


def _about(of_model: pd.DataFrame) -> str:
    first = of_model.iloc[0]
    if pd.isna(first["trained"]):
        return "The model could not be traced."
    weights = f"trained weights: `{first['weights']}`" if first["trained"] else _UNTRAINED
    about = f"{first['parameters']:,} parameters; {weights}."
    evaluated = of_model.dropna(subset=["images"])
    if evaluated.empty:
        return about
    row = evaluated.iloc[0]
    labels = "labelled" if row["labelled"] else "without labels"
    about += f" Evaluated on {row['images']} images, {labels}."
    if row["labelled"]:
        about += f" {_of_float32(row['reference_top1_accuracy'], row['images'])}"
    about += f" One class for all of them would have {row['constant_agreement']:.1%} agreement"
    if row["labelled"]:
        about += f" and {row['constant_accuracy']:.1%} accuracy"
    levels = (evaluated["sqnr_db"] - evaluated["centred_sqnr_db"]).dropna()
    return about + (
        f", PyTorch's mean answer {levels.iloc[0]:z.1f} dB SQNR." if len(levels) else "."
    )


def _of_float32(accuracy: float, images: int) -> str:
    """Return what PyTorch's own accuracy is, and from where on a difference from it shows."""
    low, high = wilson_interval(accuracy, images)
    fewest = next(lost for lost in itertools.count() if mcnemar_p(0, lost) < CHANCE)
    least = f"fewer than {fewest} images, {100 * fewest / images:.1f} points,"
    return (
        f"PyTorch's own top-1 accuracy on them is {accuracy:.1%} [{100 * low:.1f}, "
        f"{100 * high:.1f}]; a difference from it{f' of {least}' if images >= fewest else ''} "
        "cannot be told from chance."
    )


def _table(group: pd.DataFrame) -> str:
    measured = group[group["latency_median_ms"].notna()]
    several = measured["cpu_model"].nunique(dropna=False) > 1
    labelled = group["labelled"].fillna(False).any()
    of, tuned = _over_reference(group), group["speedup_vs_untuned"].notna().any()
    rows = [
        {
            "precision": row["precision"],
            "bits": _bits(row),
            "outcome": _outcome(row),
            "median latency, ms": _interval(row, "latency_median_ms", "latency_low_ms", "#.4g"),
            "speed-up": _interval(row, "speedup_vs_float32", "speedup_low", ".2f"),
            **({of: _interval(row, *_OVER_REFERENCE, ".2f")} if of else {}),
            **({"over untuned": _interval(row, *_OVER_UNTUNED, ".2f")} if tuned else {}),
            **(_accuracy(row) if labelled else {}),
            "agreement with PyTorch": _share(row, "top1_agreement"),
            "SQNR, dB": _figure(row["sqnr_db"], "z.1f"),
            "in integers": _figure(row["integer_macs_percent"] / 100, ".1%"),
            "module, MB": _figure(row["module_size_bytes"] / 1e6, "#.3g"),
            "of float32": _figure(row["size_vs_float32"], ".2f"),
            "note": _note(row, several),
        }
        for _, row in group.iterrows()
    ]
    align = ["left", "left", "left", *["right"] * (len(rows[0]) - 4), "left"]
    return tabulate(rows, "keys", "pipe", colalign=align, disable_numparse=True)


def _over_reference(rows: pd.DataFrame) -> str:
    """Return the heading of the speed-ups over the reference, nothing where there are none."""
    known = rows.dropna(subset=["speedup_vs_reference"])
    return f"over {known['reference'].iloc[0]}" if len(known) else ""


def _why(group: pd.DataFrame) -> list[str]:
    """Return what is told of where the time goes, as a list with its heading, if anything is."""
    told = group["explanation"].dropna()
    return ["Why, by the profile:", "\n".join(f"- {one}." for one in told)] if len(told) else []


def _bits(row: pd.Series) -> str:
    """Return the bits of weights and activations; of mixed weights what they are on average."""
    weights, activations = row["weight_bits"], row["activation_bits"]
    if pd.isna(weights):
        mean = row["mean_weight_bits"]
        weights = "mixed" if pd.isna(mean) else f"{mean:.2f}"
    return f"{weights}/{'mixed' if pd.isna(activations) else activations}"


def _outcome(row: pd.Series) -> str:
    return f"**failed@{row['failed_stage']}**" if row["state"] == "failed" else "ok"


def _figure(value: object, form: str) -> str:
    """Return a figure in the form given, nothing for a missing one."""
    if pd.isna(value):
        return ""
    return format(value, form).rstrip(".")


def _share(row: pd.Series, name: str) -> str:
    return "" if pd.isna(row[name]) else share(row, name)


def _accuracy(row: pd.Series) -> dict[str, str]:
    return {"top-1 accuracy": _share(row, "top1_accuracy"), "points from float32": _points(row)}


def _points(row: pd.Series, interval: bool = True) -> str:
    """Return the accuracy's difference from float32 in points, marked where it is no chance."""
    if pd.isna(row["accuracy_difference"]):
        return ""
    found, low, high = (
        format(100 * row[f"accuracy_difference{end}"], "z.1f") for end in ("", "_low", "_high")
    )
    mark = "*" * (row["accuracy_difference_p"] < CHANCE)
    return (f"{found} [{low}, {high}]" if interval else found) + mark


def _interval(row: pd.Series, median: str, low: str, form: str) -> str:
    """Return `median [low, high]` of a figure whose bounds, which may miss, are columns too."""
    if pd.isna(row[median]):
        return ""
    if pd.isna(row[low]):
        return _figure(row[median], form)
    bounds = (_figure(row[name], form) for name in (low, low.replace("low", "high")))
    return f"{_figure(row[median], form)} [{', '.join(bounds)}]"


def _note(row: pd.Series, several_cpus: bool) -> str:
    notes = {
        "degenerate": f"degenerate: {_DEGENERATE}",
        "exact": "exact: the same outputs as PyTorch",
        "disturbed": "disturbed: others used the CPUs while it was timed",
    }
    told = [text for name, text in notes.items() if _is(row[name])]
    if several_cpus and not pd.isna(row["latency_median_ms"]):
        told.append(f"on {_cpu(row['cpu_model'])}")
    return "; ".join(told)


def _is(flag: object) -> bool:
    """Whether a flag that may be missing is set."""
    return flag is not pd.NA and bool(flag)


def _failures(summary: pd.DataFrame) -> str:
    table = failures(summary)
    if table.empty:
        return "## What failed\n\nNothing."
    return "## What failed, and where\n\n" + "\n".join(
        _failure(row.dropna()) for _, row in table.iterrows()
    )


def _failure(row: pd.Series) -> str:
    where = place(row.get("function"), row.get("file"), row.get("line"))
    lines = [
        "- **{model}, {engine}, {target}, {precision}** failed in **{stage}**".format(**row)
        + (f", at {_code(where)}" if where else ""),
        f"  - {row['kind']}, {row['type']}: {_code(check(row['message']) or '(no message)')}",
    ]
    if "log" in row:
        lines.append(f"  - log: {_code(row['log'])}")
    return "\n".join(lines)


def _code(text: str) -> str:
    """Return text as a Markdown code span, whatever backticks it holds."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _measured(summary: pd.DataFrame) -> str:
    lines = [
        "## How it was measured",
        "",
        "- Bits: of the weights and of the activations. In integers: the share of the "
        "multiplications that quantization brought to integers.",
    ]
    measured = summary.dropna(subset=["latency_median_ms"])
    for cpu, group in measured.groupby("cpu_model", sort=False, dropna=False):
        short = int(group["stopped_by_budget"].sum())
        compiled = " and ".join(map(_code, group["compiled_for"].dropna().unique()))
        lines += [
            f"- Latency on {_cpu(cpu)}, compiled for {compiled or 'it'}: "
            f"{_range(group['runs'])} timed runs per experiment over "
            f"{_range(group['inputs'])} inputs, of which the median and its 95% interval"
            + (f"; {short} of {len(group)} stopped early at their time budget." if short else "."),
        ]
    if measured.empty:
        return "\n".join([*lines, "No experiment got as far as its benchmark."])
    lines += [
        "- Speed-up: the float32 module's median over the experiment's, both timed in turn, each "
        "in a process of its own with the others stopped; above 1 the experiment is the faster. "
        "Over another engine: the same beside that engine's float32; over untuned: beside the same "
        "module without tuning.",
        "- Why: layers are convolutions and dense layers, peaks this machine's, measured by loops "
        "that do nothing else; each operator's time is in `layers.csv`.",
        "- No interval: too few blocks of runs to tell how far neighbours depend on each other "
        f"({MINIMUM} are needed). Disturbed: in more than {OF_ROUNDS:.0%} of its rounds other "
        f"processes and the hypervisor had more than {OF_CPU_TIME:.0%} of the CPU time, in the "
        "first measurement and in a second.",
        "- Intervals are of 95%. Of a share of the images it is Wilson's; of the difference from "
        "float32, whose answers to the same images are PyTorch's, Tango's for pairs. "
        f"{_POINTS} The test is stricter than the interval.",
        "- Agreement: the share of images for which the module and PyTorch answer the same. "
        "SQNR: PyTorch's output power over that of the difference.",
        "- Degenerate: no nearer to PyTorch's answers than their mean, given to every image, is, "
        "and agreeing on no more images, beyond chance, than one class for all would.",
        "- Module: the size of `module.so`, weights included; of float32: its ratio to the "
        "float32 module's.",
    ]
    return "\n".join(lines)


def _range(values: pd.Series, unit: str = "") -> str:
    low, high = (f"{value:.1f}".removesuffix(".0") for value in (values.min(), values.max()))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"
