"""The loops that measure a machine's peaks, compiled for real, and what is left of them."""

import json
import re

import pytest
import tvm

from bitsweep import machine
from bitsweep.engines.relax import target
from bitsweep.engines.relax.loops import loops
from bitsweep.engines.relax.peaks import _header
from bitsweep.profile import measuring, peaks

_AVX512 = {"avx", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx512_vpopcntdq"}
_PAT = {
    "float": r"\bvfmadd\w+ps",
    "bfloat16": r"\bvdpbf16ps",
    "integer": r"\bvpdpbusd",
    "bits": r"\bvpopcntd",
}


@pytest.mark.parametrize(
    ("flags", "cpu", "names", "register", "accumulators"),
    [
        (_AVX512, "znver4", ["float", "bfloat16", "integer", "bits", "memory"], "zmm", 24),
        ({"avx", "fma", "avx_vnni"}, "alderlake", ["float", "integer", "memory"], "ymm", 12),
        ({"avx", "fma"}, "haswell", ["float", "memory"], "ymm", 12),
        (set(), "x86-64", ["memory"], "xmm", 12),
    ],
    ids=["AVX-512", "AVX-VNNI", "AVX2", "SSE2"],
)
def test_a_round_is_one_instruction_an_accumulator_in_registers(
    tmp_path, flags, cpu, names, register, accumulators
):
    header = _header(target.resolve(target.NATIVE))
    found = loops(flags, cpu)
    assert [loop.name for loop in found] == names
    for loop in found:
        path = tmp_path / f"{loop.name}.ll"
        path.write_text(header + loop.text)
        assembly = tvm.runtime.load_module(str(path)).inspect_source("asm")
        body = _inner_loop(assembly)
        if loop.name in _PAT:
            counted = [line for line in body if re.search(_PAT[loop.name], line)]
            assert len(counted) == accumulators
            assert all(register in line and "(" not in line for line in counted), counted
        else:
            read = [line for line in body if "(" in line and register in line]
            assert len(read) == accumulators
        bits = {"zmm": 512, "ymm": 256, "xmm": 128}[register]
        products = {"float": 32, "bfloat16": 16, "integer": 8, "bits": 1, "memory": 8}[loop.name]
        assert loop.work == accumulators * bits // products


def _inner_loop(assembly):
    """The lines between the label that is jumped back to and the jump."""
    (label,) = re.findall(r"\tjl\t(\S+)", assembly)
    _, after = assembly.split(f"{label}:", 1)
    return after.split(f"\tjl\t{label}", 1)[0].splitlines()


def test_the_machine_is_measured_for_one_and_for_all_threads(tmp_path):
    measuring.run("peaks", 2, tmp_path / "peaks.json", tmp_path / "log")
    found = json.loads((tmp_path / "peaks.json").read_text())
    assert "error" not in found
    cpu = machine.read_cpuinfo()
    threads = machine.usable(2)
    numbers = {"1", str(threads)}
    expected = [loop.name for loop in loops(cpu.flags, "generic") if loop.name != "memory"]
    assert list(found["gigaproducts"]) == expected
    for rates in (*found["gigaproducts"].values(), found["gigabytes"]):
        assert set(rates) == numbers
        assert min(rates.values()) > 0
    roofs = peaks.read(tmp_path / "peaks.json", cpu.model, threads)
    assert roofs.gigaproducts == {a: found["gigaproducts"][a][str(threads)] for a in expected}
    assert roofs.gigabytes == found["gigabytes"][str(threads)]
    assert peaks.read(tmp_path / "peaks.json", cpu.model, 999).gigaproducts == {}


def test_where_tvm_refuses_no_figure_is_left_and_why_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "_LIMITS", measuring.Limits(0.2, 2**30))
    measuring.run("peaks", 1, tmp_path / "peaks.json", tmp_path / "log")
    assert json.loads((tmp_path / "peaks.json").read_text()) == {"error": "stopped after 0.2 s"}
    assert peaks.read(tmp_path / "peaks.json", machine.read_cpuinfo().model, 1) == peaks.NONE
