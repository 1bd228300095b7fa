"""What each rule says of a table made up for it, and that it is silent without evidence."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from bitsweep.explanation import rules
from bitsweep.explanation.evidence import Evidence
from bitsweep.explanation.sentence import explained, sentence
from bitsweep.profile import table
from bitsweep.summary import markdown, terminal
from tests.unit import profiled, synthetic

# Of each operator: kind, milliseconds, and what else it has.
FLOAT32 = [
    ("convolution", 8.0, {"macs": 800, "arithmetic": "float", "layer": "conv1"}),
    ("dense", 1.0, {"macs": 100, "arithmetic": "float", "layer": "fc"}),
    ("pool", 1.0, {}),
]


def operators(*rows, whole=None, **columns):
    """A table of operators as `profile.table` has it; peaks are 100 and 40."""
    total = sum(milliseconds for _, milliseconds, _ in rows)
    made = [
        {
            "kind": kind,
            "milliseconds": milliseconds,
            "share": milliseconds / total,
            "whole_ms": whole or total,
            "rest_ms": (whole or total) - total,
            "missing": "calls",
            "disturbed": False,
            "last_level_bytes": 1000,
            "bytes": 1000,
            **columns,
            **more,
        }
        for kind, milliseconds, more in rows
    ]
    return pd.DataFrame(made, columns=list(table.COLUMNS), dtype=object).astype(table.COLUMNS)


def evidence(*rows, **more):
    return Evidence(operators(*rows), **more)


def layer(milliseconds, **more):
    return ("convolution", milliseconds, {"macs": 100, "layer": "conv1", **more})


def at(rate, arithmetic="integer", peak=100.0, **more):
    return {
        "arithmetic": arithmetic,
        "gigaproducts_per_second": rate,
        "peak_gigaproducts_per_second": peak,
        **more,
    }


def without(given, **fields):
    return dataclasses.replace(given, **fields)


def test_layers_are_compared_with_float32s_by_the_paired_speed_up():
    """Layers take 0.5 of the time, of float32's 0.9; the whole is 0.8 as fast."""
    own = evidence(layer(5.0), ("conversion", 5.0, {}), float32=operators(*FLOAT32), speedup=0.8)
    told = rules.against_float32(own)
    assert told == f"its layers take {0.5 / 0.9 / 0.8:.2f} of what float32's take"
    assert rules.against_float32(without(own, speedup=None)) is None
    assert rules.against_float32(without(own, float32=None)) is None
    no_layers = operators(("pool", 1.0, {}))
    assert rules.against_float32(without(own, float32=no_layers)) is None
    assert rules.against_float32(without(own, operators=no_layers)) is None


def test_layers_are_told_beside_their_peak_weighted_by_time():
    own = evidence(layer(3.0, **at(10)), layer(1.0, **at(30)), ("pool", 9.0, {}))
    assert rules.of_peak(own) == "its layers do 15 % of the VNNI peak"
    assert rules.of_peak(evidence(layer(3.0, **at(120)))) is None
    no_peak = evidence(layer(3.0, **at(10, peak=None)))
    assert rules.of_peak(no_peak) is None
    assert rules.of_peak(evidence(("pool", 1.0, {}))) is None


def test_the_peak_is_of_the_arithmetic_that_most_time_goes_to():
    mixed = evidence(layer(3.0, **at(60, "bits")), layer(1.0, **at(40)))
    assert rules.of_peak(mixed) == "its layers of bits do 60 % of the popcount peak"
    left_in_float = evidence(layer(1.0, **at(12)), layer(9.0, **at(40, "float")))
    assert rules.of_peak(left_in_float) == "its layers of integers do 12 % of the VNNI peak"
    unknown = evidence(layer(3.0), layer(1.0, **at(40)))
    assert rules.of_peak(unknown) is None


@pytest.mark.parametrize(
    ("instructions", "told"),
    [
        ({"vpmaddwd": 61000, "vpmulld": 10}, " (no vpdpbusd in the module, 61,000 vpmaddwd)"),
        ({"vfmadd231ps": 3}, " (no vpdpbusd in the module)"),
        ({"vpdpbusd": 5, "vpmaddwd": 61000}, ""),
        ({"vpdpbusds": 5}, ""),
        (None, ""),
    ],
)
def test_a_module_without_the_peaks_instruction_is_told(instructions, told):
    own = evidence(layer(1.0, **at(12)), instructions=instructions)
    assert rules.of_peak(own) == f"its layers do 12 % of the VNNI peak{told}"


@pytest.mark.parametrize(
    ("arithmetic", "instruction"),
    [("float", "vfmadd231ps"), ("bfloat16", "vdpbf16ps"), ("bits", "vpopcntd")],
)
def test_each_peak_has_its_instruction(arithmetic, instruction):
    own = evidence(layer(1.0, **at(12, arithmetic)), instructions={instruction: 1})
    assert "module" not in rules.of_peak(own)
    assert "(no v" in rules.of_peak(without(own, instructions={}))


def test_other_kinds_are_told_where_they_take_more_than_in_float32():
    rows = (layer(7.0), ("conversion", 0.9, {}), ("pool", 1.1, {}), ("layout", 0.3, {}))
    own = evidence(*rows, ("elementwise", 0.7, {}), float32=operators(*FLOAT32))
    told = "9 % of its time converts types, float32 has none; 7 % of its time goes to elementwise"
    assert rules.other_kinds(own) == f"{told} operators, float32 has none"
    float32 = operators(*FLOAT32, ("conversion", 0.2, {}), ("elementwise", 1.0, {}))
    assert rules.other_kinds(without(own, float32=float32)) == (
        "9 % of its time converts types, in float32 2 %"
    )
    assert rules.other_kinds(evidence(*FLOAT32)) == "10 % of its time pools"
    names = ("max_pool_1", "max_pool_2", "avg_pool")
    named = [("pool", 0.8 if "max" in name else 1.0, {"operator": name}) for name in names]
    assert rules.other_kinds(evidence(*named)) == "100 % of its time pools (max_pool)"
    assert rules.other_kinds(evidence(layer(1.0))) is None


def test_what_stayed_in_floats_is_told_by_name():
    quantized = layer(7.0, arithmetic="integer", macs=900)
    first = layer(2.0, arithmetic="float", layer="stem")
    last = ("dense", 1.0, {"arithmetic": "float", "macs": 0})
    assert rules.left_in_float(evidence(quantized, first)) == (
        "layer stem, left in floats, takes 22 % of its time for 10 % of the multiplications"
    )
    assert rules.left_in_float(evidence(quantized, first, last)).startswith(
        "layer stem and a dense layer, left in floats, take 30 %"
    )
    assert rules.left_in_float(evidence(quantized, first, first, first)).startswith("3 layers, ")
    assert rules.left_in_float(evidence(quantized, layer(0.1, arithmetic="float"))) is None
    halves = layer(7.0, arithmetic="bfloat16", macs=900)
    assert ", left in float32, " in rules.left_in_float(evidence(halves, first, last))
    assert rules.left_in_float(evidence(first, last)) is None
    assert rules.left_in_float(evidence(quantized, layer(2.0))) is None


def test_a_layer_that_takes_more_than_its_part_is_told():
    small = [layer(1.0, layer=f"conv{i}", macs=100, arithmetic="float") for i in range(2, 11)]
    slow = layer(3.0, macs=30, arithmetic="float")
    assert rules.one_layer(evidence(slow, *small)) == (
        "layer conv1 alone takes 25 % of its time for 3 % of the multiplications"
    )
    assert rules.one_layer(evidence(layer(3.0, macs=300, arithmetic="float"), *small)) is None
    assert rules.one_layer(evidence(*small)) is None
    assert rules.one_layer(Evidence(operators(slow, *small).assign(share=pd.NA))) is None
    nameless = [("convolution", 1.0, {"macs": 100}) for _ in range(9)]
    assert rules.one_layer(evidence(slow, *nameless)) is None
    # Another rule tells of what stayed in floats.
    quantized = [layer(1.0, layer=f"q{i}", macs=100, arithmetic="integer") for i in range(9)]
    assert rules.one_layer(evidence(slow, *quantized)) is None


def test_layers_that_read_as_fast_as_memory_gives_are_told_where_caches_are_too_small():
    def reading(rate, **more):
        return {"gigabytes_per_second": rate, "peak_gigabytes_per_second": 40.0, **more}

    fast, slow = layer(1.0, **reading(39.0)), layer(3.0, **reading(10.0))
    told = "25 % of its time is in layers that read as fast as memory gives"
    assert rules.at_bandwidth(evidence(fast, slow)) == told
    assert rules.at_bandwidth(evidence(slow)) is None
    assert rules.at_bandwidth(evidence(layer(1.0, **reading(80.0)), slow)) is None
    in_cache = operators(fast, slow, last_level_bytes=10**6)
    assert rules.at_bandwidth(Evidence(in_cache)) is None
    unknown = operators(fast, slow, last_level_bytes=None)
    assert rules.at_bandwidth(Evidence(unknown)) is None
    no_peak = layer(1.0, **reading(39.0) | {"peak_gigabytes_per_second": None})
    assert rules.at_bandwidth(evidence(no_peak, slow)) is None


def test_short_operators_are_told():
    short = evidence(layer(0.004), ("pool", 0.001, {}))
    assert rules.short_operators(short).startswith("its 2 operators take 2.5 µs each, ")
    assert rules.short_operators(evidence(layer(4.0))) is None


@pytest.mark.parametrize(
    ("whole", "disturbed", "told"),
    [
        (10.0, False, None),
        (10.5, False, None),
        (12.5, False, "20 % of a run is not in its operators (calls)"),
        (8.0, None, "its operators, timed one by one, add up to 1.25 of a run, so that shares are"),
        (10.0, True, "others used the CPUs while it was profiled, so that shares are rough"),
    ],
)
def test_what_operators_lack_of_a_run_is_told(whole, disturbed, told):
    found = rules.agreement(Evidence(operators(*FLOAT32, whole=whole, disturbed=disturbed)))
    assert (found or "").startswith(told or "") and (found is None) == (told is None)


def test_a_sentence_leads_with_the_speed_where_it_is_known():
    own = evidence(layer(1.0, **at(12)), float32=operators(*FLOAT32), speedup=0.914)
    assert sentence("relay/int8", own) == (
        "relay/int8 is 0.91 of float32's speed: its layers take 1.22 of what float32's take; its "
        "layers do 12 % of the VNNI peak"
    )
    faster = sentence("relax/int8", without(own, speedup=3.5))
    assert faster.startswith("relax/int8 is 3.50x as fast as float32: its layers take 0.32")
    alone = without(own, speedup=None, float32=None)
    assert sentence("relay/float32", alone) == "relay/float32: its layers do 12 % of the VNNI peak"
    assert sentence("relay/float32", evidence(layer(1.0))) is None


def test_a_summary_is_explained(tmp_path):
    experiments = synthetic.sweep(["resnet50"], precisions=("float32", "int8", "int4", "int1"))
    summary = synthetic.summarise(tmp_path, experiments)
    assert summary["explanation"].isna().all()
    left = [profiled.leave(tmp_path, one, profiled.FLOAT) for one in experiments[:1]]
    left.append(profiled.leave(tmp_path, experiments[1], profiled.INT8))
    layers = table.collect(left, tmp_path, profiled.peaks(tmp_path))
    told = explained(summary, layers, tmp_path).set_index("precision")["explanation"]
    speedup = summary.set_index("precision").loc["int8", "speedup_vs_float32"]
    assert told["int8"] == (
        f"relay/int8 is {speedup:.2f} of float32's speed: its layers take "
        f"{0.72 / 0.95 / speedup:.2f} of what float32's take; its layers of integers do 24 % of "
        "the VNNI peak; 10 % of its time converts types (fused_cast), float32 has none; 15 % of "
        "its time goes to elementwise operators (fused_fixed_point_multiply_add), float32 has "
        "none; layer conv1, left in floats, takes 40 % of its time for 25 % of the multiplications"
    )
    assert told["float32"].startswith("relay/float32: its layers do 42 % of the float FMA peak")
    assert told[["int4", "int1"]].isna().all()
    whole = explained(summary, layers, tmp_path)
    assert f"- {told['int8']}." in markdown(whole)
    assert told["int8"] not in terminal(whole)
    disturbed = summary.assign(disturbed=pd.array([True] * 4, dtype="boolean"))
    told = explained(disturbed, layers, tmp_path).set_index("precision")["explanation"]
    assert told["int8"].startswith("relay/int8: its layers of integers do 24 %")
    assert "Why, by the profile" not in markdown(summary)
    assert np.all(summary["explanation"].isna())
