"""The rules: each says one thing of an experiment, or nothing where the evidence for it is missing.

A rule takes `Evidence` and returns a part of a sentence about *it*, or None. Layers are
convolutions and dense layers.
"""

import pandas as pd

from bitsweep.explanation.evidence import Evidence, layers_of, share
from bitsweep.profile.operators import plain

_PEAKS = {
    "float": "float FMA",
    "bfloat16": "AVX512-BF16",
    "integer": "VNNI",
    "bits": "popcount",
}
# What the peak is measured by, and what else the same sums of products are made of.
_INSTRUCTIONS = {
    "float": ("vfmadd213ps", ("vmulps",)),
    "bfloat16": ("vdpbf16ps", ("vfmadd231ps", "vmulps")),
    "integer": ("vpdpbusd", ("vpmaddubsw", "vpmaddwd", "vpmulld", "vpmullw")),
    "bits": ("vpopcntd", ()),
}
_NOUNS = {"float": "floats", "bfloat16": "bfloat16", "integer": "integers", "bits": "bits"}
_DOES = {
    "conversion": "converts types",
    "layout": "brings data into other layouts",
    "pool": "pools",
    "elementwise": "goes to elementwise operators",
    "other": "goes to operators of other kinds",
}

_WORTH_TELLING = 0.05  # of the time
_MORE = 1.5  # times as much
_DOMINANT = 0.5
_NO_MORE = 1.1  # of a peak: what does more, LLVM found to be no arithmetic, or a constant
_ONE_LAYER = 0.15
_AT_BANDWIDTH = (0.7, 1.3)  # what exceeds memory's bandwidth comes from caches
_SHORT_MS = 0.02
_DISAGREEMENT = 0.1


def against_float32(evidence: Evidence) -> str | None:
    """What the layers take of the time that float32's take; speeds are compared side by side."""
    if evidence.float32 is None or evidence.speedup is None:
        return None
    own, float32 = share(evidence.layers), share(layers_of(evidence.float32))
    if not own or not float32:
        return None
    return f"its layers take {own / float32 / evidence.speedup:.2f} of what float32's take"


def of_peak(evidence: Evidence) -> str | None:
    """What the layers do of the machine's peak, with the instructions that speak for it."""
    meant = evidence.meant
    known = meant.dropna(subset=["gigaproducts_per_second", "peak_gigaproducts_per_second"])
    times = known.groupby("arithmetic")["milliseconds"].sum()
    if times.empty or times.max() < _DOMINANT * meant["milliseconds"].sum():
        return None
    arithmetic = times.idxmax()
    alike = known[known["arithmetic"] == arithmetic]
    products = (alike["gigaproducts_per_second"] * alike["milliseconds"]).sum()
    peak = alike["peak_gigaproducts_per_second"].iloc[0]
    of = "" if len(alike) == len(evidence.layers) else f" of {_NOUNS[arithmetic]}"
    done = products / times.max() / peak
    if done > _NO_MORE:
        return None
    told = f"its layers{of} do {_percent(done)} of the {_PEAKS[arithmetic]} peak"
    found = _instructions(evidence, arithmetic)
    return f"{told} ({found})" if found else told


def _instructions(evidence: Evidence, arithmetic: str) -> str | None:
    """What the module has in place of the instruction that the peak is measured by."""
    if evidence.instructions is None:
        return None
    wanted, others = _INSTRUCTIONS[arithmetic]
    if any(name.startswith(wanted[:6]) for name in evidence.instructions):  # and its variants
        return None
    counts = {name: evidence.instructions.get(name, 0) for name in others}
    most = max(counts, key=counts.__getitem__, default=None)
    none = f"no {wanted} in the module"
    return f"{none}, {counts[most]:,} {most}" if most and counts[most] else none


def other_kinds(evidence: Evidence) -> str | None:
    """What takes time beside the layers, where it is more of it than in float32."""
    told = []
    for kind, does in _DOES.items():
        of_kind = evidence.operators[evidence.operators["kind"] == kind]
        beside = ""
        if evidence.float32 is not None:
            alike = evidence.float32[evidence.float32["kind"] == kind]
            beside = (
                f", in float32 {_percent(share(alike))}" if len(alike) else ", float32 has none"
            )
            if share(of_kind) < _MORE * share(alike):
                continue
        if share(of_kind) >= _WORTH_TELLING:
            told.append(f"{_percent(share(of_kind))} of its time {does}{_most_of(of_kind)}{beside}")
    return "; ".join(told) or None


def _most_of(of_kind: pd.DataFrame) -> str:
    """The kernel that most of the time goes to, in brackets, if it has a name."""
    names = of_kind["operator"].dropna().map(plain)
    times = of_kind["milliseconds"].groupby(names).sum()
    return f" ({times.idxmax()})" if len(times) else ""


def left_in_float(evidence: Evidence) -> str | None:
    """What the layers take that quantization left in floats, or bfloat16 in float32."""
    layers = evidence.layers.dropna(subset=["arithmetic", "macs"])
    floats = layers[layers["arithmetic"] == "float"]
    if evidence.is_float or share(floats) < _WORTH_TELLING:
        return None
    names = ("layer " + floats["layer"]).fillna("a " + floats["kind"] + " layer").tolist()
    which = " and ".join(names) if len(names) < 3 else f"{len(names)} layers"
    macs = floats["macs"].sum() / layers["macs"].sum()
    take = "takes" if len(names) == 1 else "take"
    left_in = "float32" if layers["arithmetic"].eq("bfloat16").any() else "floats"
    return (
        f"{which}, left in {left_in}, {take} {_percent(share(floats))} of its time for "
        f"{_percent(macs)} of the multiplications"
    )


def one_layer(evidence: Evidence) -> str | None:
    """The layer that takes far more of the time than it has of the multiplications."""
    layers = evidence.meant.dropna(subset=["macs", "layer", "share"])
    if layers.empty or len(layers) < len(evidence.layers) / 2:
        return None
    slowest = layers.loc[layers["share"].idxmax()]
    macs = slowest["macs"] / evidence.layers["macs"].sum()
    if slowest["share"] < max(_ONE_LAYER, 3 * macs):
        return None
    return (
        f"layer {slowest['layer']} alone takes {_percent(slowest['share'])} of its time for "
        f"{_percent(macs)} of the multiplications"
    )


def at_bandwidth(evidence: Evidence) -> str | None:
    """What is spent in layers that read as fast as memory gives, if caches do not hold all."""
    needed = ["gigabytes_per_second", "peak_gigabytes_per_second", "last_level_bytes"]
    layers = evidence.layers.dropna(subset=needed)
    if not (evidence.layers["bytes"].sum() > layers["last_level_bytes"]).any():
        return None
    rates = layers["gigabytes_per_second"] / layers["peak_gigabytes_per_second"]
    bound = share(layers[rates.between(*_AT_BANDWIDTH)])
    if bound < _ONE_LAYER:
        return None
    return f"{_percent(bound)} of its time is in layers that read as fast as memory gives"


def short_operators(evidence: Evidence) -> str | None:
    """Whether operators are so short that what is around the arithmetic counts."""
    mean = evidence.operators["milliseconds"].mean()
    if pd.isna(mean) or mean >= _SHORT_MS:
        return None
    count = len(evidence.operators)
    return (
        f"its {count} operators take {1000 * mean:.1f} µs each, of which calls and the starts of "
        "threads are a large part"
    )


def agreement(evidence: Evidence) -> str | None:
    """Why the operators' figures are not to be relied on, or what of a run they lack."""
    first = evidence.operators.iloc[0]
    missing = first["rest_ms"] / first["whole_ms"]
    if first["disturbed"] is not pd.NA and first["disturbed"]:
        return "others used the CPUs while it was profiled, so that shares are rough"
    if missing > _DISAGREEMENT:
        return f"{_percent(missing)} of a run is not in its operators ({first['missing']})"
    if missing < -_DISAGREEMENT:
        return (
            f"its operators, timed one by one, add up to {1 - missing:.2f} of a run, so that "
            "shares are rough"
        )
    return None


RULES = (
    against_float32,
    of_peak,
    other_kinds,
    left_in_float,
    one_layer,
    at_bandwidth,
    short_operators,
    agreement,
)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.01 else f"{100 * value:.1f} %"
