"""Limits, crashes and damaged files: what becomes an outcome, and what stops the run."""

import os

import pytest

from bitsweep import sensitivity, tables
from tests.workflow.checkout import DIGITS

INT8 = "results/digits/relay/cpu/int8"
LAST = ("benchmark", "evaluate", "inspect")


@pytest.mark.parametrize(
    ("limits", "kind", "message"),
    [
        ({"seconds": 1}, "timeout", "stopped after 1 s"),
        ({"memory_mb": 40}, "memory", "stopped above 40 MiB"),
    ],
)
def test_a_limit_is_a_failure_of_its_kind(digits, limits, kind, message):
    digits.done(
        *("--forcerun", f"{INT8}/quantize.json", "--"),
        *(f"{INT8}/{stage}.json" for stage in LAST),
        config={**DIGITS, "limits": limits},
    )
    error = digits.outcome("digits/relay/cpu/int8/quantize").error
    assert (error.kind, error.message) == (kind, message)
    for stage in ("compile", "export", *LAST):
        left = digits.outcome(f"digits/relay/cpu/int8/{stage}")
        assert (left.state, left.skipped_by) == ("skipped", "quantize")
    assert digits.path(f"{INT8}/module.so").read_bytes() == b""


def test_a_crash_of_llvm_is_a_failure_of_its_kind(digits):
    """LLVM ends its process where functions return floats and no register may hold them."""
    target = {"triple": "native", "cpu": "x86-64", "attributes": ["-sse", "-sse2"]}
    folder = "digits/relay/no_sse/float32"
    digits.done(
        *(f"results/{folder}/{stage}.json" for stage in LAST),
        config={
            "targets": {"no_sse": target},
            "sweep": {**DIGITS["sweep"], "targets": ["no_sse"], "precisions": ["float32"]},
        },
    )
    error = digits.outcome(f"{folder}/compile").error
    assert (error.kind, error.function) == ("crash", "Module.get_source")
    assert "SSE register return with SSE disabled" in error.message
    for stage in ("export", *LAST):
        assert digits.outcome(f"{folder}/{stage}").skipped_by == "compile"


def test_what_our_quantizer_refuses_leaves_the_tables_of_the_others(digits):
    """Here a layer that the precision skips and the model lacks."""
    refused = {"relax": {"skip_layers": ["stem9"]}}
    ended = digits.done(
        config={
            "precisions": {"refused": refused},
            "sweep": {**DIGITS["sweep"], "engines": ["relax"], "precisions": ["int8", "refused"]},
            "sensitivity": {"precisions": ["refused"]},
        }
    )
    told = "skip_layers: no layer is called 'stem9'; near it: "
    table = tables.read_summary(digits.path("results/tables/summary.csv"))
    assert table["state"].tolist() == ["ok", "failed"]
    (failure,) = tables.failures(table).to_dict("records")
    assert failure["precision"] == failure["kind"] == "refused"
    assert failure["stage"] == "quantize"
    assert failure["message"].startswith(told)
    layers = sensitivity.read(digits.path("results/tables/sensitivity.csv"))
    assert layers["error"].str.contains(told, regex=False).tolist() == [True]
    assert f"digits/relax/cpu/refused failed@quantize: bitsweep.relax.quantize: {told}" in (
        ended.output
    )


def test_a_damaged_artifact_stops_the_stage_that_reads_it(digits):
    objects = digits.path(f"{INT8}/objects.tar")
    times = objects.stat()
    content = bytearray(objects.read_bytes())
    content[len(content) // 2] ^= 1
    objects.write_bytes(content)
    os.utime(objects, ns=(times.st_atime_ns, times.st_mtime_ns))
    outcome = f"{INT8}/export.json"
    ended = digits.run("--forcerun", outcome, "--", outcome, config=DIGITS)
    assert ended.returncode != 0
    assert ended.errors() == [
        f"Error: export: {INT8}/objects.tar is corrupt: its sha256 is not the one its outcome "
        "recorded; delete it and run again"
    ]
    assert not digits.path(outcome).exists()
    objects.unlink()
    following = ("compile", "export", *LAST, "profile")
    assert digits.stale(config=DIGITS) == {
        *(f"{stage} digits/relay/cpu/int8" for stage in following),
        *("aggregate tables", "plots plots"),
        *("profile_table tables", "profile_table plots"),
        *("sensitivity_table tables", "sensitivity_table plots"),
    }
