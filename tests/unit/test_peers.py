"""`benchmarks/peers.py` without the peers, which are no requirement: modules of Relax, in turn."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bitsweep.relax import QConfig, build, quantize
from bitsweep.relax.machine import host
from tests.unit.relax import torch_networks

SCRIPT = Path(__file__).parents[2] / "benchmarks/peers.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the benchmark reads of a finished experiment: two modules, and a failed one's empty."""
    network = tmp_path_factory.mktemp("finished") / "tiny"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)).eval()
        images = torch.randn(4, 3, 8, 8).numpy()
        answers = torch_networks.answers(layers, images)
    module = torch_networks.imported(layers, images)
    modules = {"float32": module, "int8": quantize(module, QConfig(), images, host())}
    for precision in (*modules, "int4"):
        (network / f"relax/cpu/{precision}").mkdir(parents=True)
    for precision, made in modules.items():
        build(made).export_library(str(network / f"relax/cpu/{precision}/module.so"))
    (network / "relax/cpu/int4/module.so").touch()
    np.savez(network / "reference.npz", input=images, output=answers)
    return network.parent


def run(results, *arguments):
    command = [sys.executable, SCRIPT, "--results", results, "--threads", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_modules_are_timed_in_turn_and_answer_as_pytorch(results):
    ended = run(results, "--model", "tiny", "--rounds", "3")
    assert ended.returncode == 0, ended.stderr
    told, _, *rows = ended.stdout.splitlines()
    assert told == "1 threads, 3 rounds of 5 runs"
    assert [row.split()[:2] for row in rows] == [["relax", "float32"], ["relax", "int8"]]
    for row in rows:
        milliseconds, low, high, to_int8, cosine = map(float, row.split()[2:])
        assert 0 < low <= milliseconds <= high
        assert to_int8 == 1 or "float32" in row
        assert 0.99 < cosine <= 1


def test_results_without_a_module_are_told(tmp_path):
    (tmp_path / "resnet50").mkdir()
    ended = run(tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"{tmp_path / 'resnet50'} has no module of Relax: run an experiment that makes it\n"
    )
