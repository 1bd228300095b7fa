"""The answer to a search, as a sentence: what it found, and whether the test images bear it out."""

from collections.abc import Mapping
from typing import Any

from bitsweep.proportions import wilson_interval


def sentence(row: Mapping[str, Any], report: Mapping[str, Any] | None) -> str:
    """Return the answer of a search.

    `row` is the experiment's in the summary (`bitsweep.tables`), by column, in which figures may be
    missing or None; `report` is what the stage `search` left, None where it is not ok. What the
    plan does is said of the selection images, and of the test images in brackets.
    """
    name = row["model"]
    if row.get("trained") is False:
        name += " (untrained weights)"
    if report is None:
        reason = " ".join(str(row.get("error_message") or row.get("error_kind")).split())
        return f"{name}, failed@{row['failed_stage']}: {reason}"
    parts = [
        f"{_claim(name, report)} {_test(row)} on {report['plan']['mean_weight_bits']:.1f} bits a "
        f"weight{_gains(row)}",
        _uniform(report),
        _too_slow(row, report["search"]),
        _contradiction(row, report),
    ]
    return "; ".join(filter(None, parts))


def _claim(name: str, report: Mapping[str, Any]) -> str:
    plan, goal, reference = report["plan"], report["search"], report["float32_top1_accuracy"]
    accuracy = plan["top1_accuracy"]
    if goal["minimise"] == "error":
        bounds = []
        if goal["bytes"] is not None:
            bounds.append(f"{goal['bytes']:,} bytes")
        if goal["latency_ms"] is not None:
            bounds.append(f"{goal['latency_ms']:g} ms")
        within = f"within {' and '.join(bounds)}"
        if accuracy is None:
            return f"{name} agrees with float32 on {_percent(plan['top1_agreement'])} {within}"
        beside = _beside_float32(100 * (accuracy - reference))
        return f"{name} has {_percent(accuracy)} top-1, {beside}, {within}"
    within = f"within {_points(goal['tolerance'])}"
    if accuracy is None:
        return f"{name} agrees with float32 on {_percent(plan['top1_agreement'])}, {within}"
    return f"{name} keeps {_percent(accuracy)} top-1 {within}"


def _test(row: Mapping[str, Any]) -> str:
    share = _share(row)
    if share is None:
        return f"(failed@{row['failed_stage']}, so that no test image was answered)"
    low, high = (100 * row[f"{share}_{end}"] for end in ("low", "high"))
    return (
        f"(test: {_percent(row[share])}, 95 % interval {low:.1f} to {high:.1f}; "
        f"{row['images']:,} images)"
    )


def _gains(row: Mapping[str, Any]) -> str:
    told = []
    if row.get("size_vs_float32") is not None:
        told.append(f"{row['size_vs_float32']:.2f} of float32's size")
    # A ratio that was taken beside other work tells nothing.
    if row.get("speedup_vs_float32") is not None and not row.get("disturbed"):
        told.append(f"{row['speedup_vs_float32']:.1f}x as fast")
    return f": {', '.join(told)}" if told else ""


def _uniform(report: Mapping[str, Any]) -> str:
    plan, uniform, goal = report["plan"], report["uniform"], report["search"]
    by_error = goal["minimise"] == "error"
    if uniform is None:
        return f"no uniform width {'is within that' if by_error else 'does'}"
    width = _width(uniform)
    if uniform["layer_bits"] == plan["layer_bits"]:
        what = {"error": "better", "bytes": "smaller", "latency": "faster"}[goal["minimise"]]
        return f"that is the uniform width of {width}: no plan that was tried does so and is {what}"
    if not by_error:
        what = {"bytes": "smallest", "latency": "fastest"}[goal["minimise"]]
        return f"the {what} uniform width that does is {width}"
    name = "top1_agreement" if uniform["top1_accuracy"] is None else "top1_accuracy"
    return f"the best uniform width within that is {width}, with {_percent(uniform[name])}"


def _too_slow(row: Mapping[str, Any], goal: Mapping[str, Any]) -> str:
    budget, measured = goal["latency_ms"], row.get("latency_median_ms")
    if budget is None or measured is None or row.get("disturbed"):
        return ""
    if (row.get("latency_low_ms") or measured) <= budget:
        return ""
    return f"but as a whole it takes {measured:.3g} ms"


def _contradiction(row: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Say where the test images speak against what the selection images promised."""
    share = _share(row)
    if share is None:
        return ""
    if share == "top1_accuracy":
        lost = [-100 * row[f"accuracy_difference{end}"] for end in ("", "_high", "_low")]
    else:
        lost = [100 * (1 - row[f"{share}{end}"]) for end in ("", "_high", "_low")]
    tolerance = report["search"]["tolerance"]
    if tolerance is None:
        return _unlike_selection(row, report, share)
    if lost[0] <= tolerance + 1e-9:  # a share of images, which no float holds exactly
        return ""
    if share == "top1_accuracy":
        what = f"on the test images it is {round(lost[0], 2):g} points below float32"
    else:
        what = f"it answers {round(lost[0], 2):g} % of the test images unlike float32"
    chance = "by more than chance" if lost[1] > tolerance else "which may be chance"
    return (
        f"but {what} (95 % interval {lost[1]:z.1f} to {lost[2]:z.1f}): "
        f"beyond the tolerance, {chance}"
    )


def _unlike_selection(row: Mapping[str, Any], report: Mapping[str, Any], share: str) -> str:
    """Nothing was promised, so only what chance does not explain counts."""
    low, _ = wilson_interval(report["plan"][share], report["images"])
    if row[f"{share}_high"] >= low:
        return ""
    return "but the test images are answered worse than the selection images, more than chance"


def _share(row: Mapping[str, Any]) -> str | None:
    """Return the figure of the test images that counts, None where they were not answered."""
    names = ("top1_accuracy", "top1_agreement")
    return next((name for name in names if row.get(name) is not None), None)


def _width(plan: Mapping[str, Any]) -> str:
    inputs = next(iter(plan["layer_bits"].values()))[1]
    bits = plan["uniform"]
    beside = "" if inputs == 8 else f" beside {inputs}-bit inputs"
    return f"{bits} bit{'s' * (bits > 1)}{beside}"


def _beside_float32(difference: float) -> str:
    points = f"{abs(difference):.1f}"
    if points == "0.0":
        return "as float32 has"
    return f"{points} points {'below' if difference < 0 else 'above'} float32"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(number: float) -> str:
    return f"{number:g} point{'s' * (number != 1)}"
