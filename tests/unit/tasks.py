"""A small network, and the tasks of an engine on it, for the tests of the engines."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bitsweep.child import Limits
from bitsweep.engines import lockstep, task

AMPLE = Limits(seconds=300, memory_bytes=4 * 2**30)
NATIVE = {"triple": "native", "cpu": "native", "attributes": [], "cores": "native"}
SHAPE = (3, 8, 8)


def timed(processes, inputs=3, runs=6, cold=False):
    """The settings of a short benchmark."""
    return {
        "processes": processes,
        "inputs": inputs,
        "runs": runs,
        "warmup": 1,
        "budget_seconds": 60,
        "seed": 0,
        "reference": "relax",
        "cold": cold,
    }


class Net(nn.Module):
    """One convolution with batch norm, a residual addition, a dense layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.body(x) + x)
        return self.head(x.mean((2, 3)))


def trace(folder):
    """Return the network and an image, with `reference.npz` and `calibration.npz` in the folder."""
    torch.manual_seed(0)
    network = Net().eval()
    images = torch.randn(12, *SHAPE)
    with torch.no_grad():
        np.savez(folder / "reference.npz", input=images, output=network(images))
    np.savez(folder / "calibration.npz", input=images[:4])
    return network, images[:1]


@dataclass(frozen=True)
class Tasks:
    """The tasks of an engine; paths of inputs and outputs are relative to the folder."""

    engine: Callable[[], task.Engine]

    def run(self, name, folder, *, inputs=None, outputs=None, limits=AMPLE, **settings):
        return task.run(
            self.engine(),
            name,
            inputs={key: str(folder / path) for key, path in (inputs or {}).items()},
            outputs={key: str(folder / path) for key, path in (outputs or {}).items()},
            settings=settings,
            limits=limits,
            threads=1,
            log=folder / "log",
        )

    def import_(self, folder, **traced):
        return self.run(
            "frontend",
            folder,
            inputs={**traced, "reference": "reference.npz"},
            outputs={"ir": "imported.ir", "params": "imported.params", "text": "imported.txt"},
        )

    def calibrate(self, folder):
        return self.run(
            "calibrate",
            folder,
            inputs={
                "ir": "imported.ir",
                "params": "imported.params",
                "calibration": "calibration.npz",
            },
            outputs={"statistics": "statistics.npz"},
        )

    def quantize(self, folder, precision, plan=None, **more):
        return self.run(
            "quantize",
            folder,
            inputs={
                **({"plan": plan} if plan else {}),
                "ir": "imported.ir",
                "params": "imported.params",
                "text": "imported.txt",
                "calibration": "calibration.npz",
                "statistics": "statistics.npz",
            },
            outputs={
                "ir": "quantized.ir",
                "params": "quantized.params",
                "text": "quantized.txt",
                "coverage": "coverage.json",
            },
            precision=precision,
            **{"target": NATIVE, **more},
        )

    def tune(self, folder, **tuning):
        """Tune the module; its log is `tuning.log`, what is kept of it `kept`."""
        return self.run(
            "tune",
            folder,
            inputs={"ir": "quantized.ir", "params": "quantized.params"},
            outputs={"log": "tuning.log"},
            target=NATIVE,
            tuning={"seconds": 100, **tuning},
            kept=str(folder / "kept"),
        )

    def compile_(self, folder, **more):
        log = {"log": "tuning.log"} if more.get("tuner") else {}
        return self.run(
            "compile",
            folder,
            inputs={"ir": "quantized.ir", "params": "quantized.params", **log},
            outputs={"objects": "objects.tar", "llvm_ir": "module.ll", "assembly": "module.s"},
            **{"target": NATIVE, "tuner": None, **more},
        )

    def link(self, folder):
        return self.run(
            "link", folder, inputs={"objects": "objects.tar"}, outputs={"module": "module.so"}
        )

    def time(self, folder, reference=None, limits=AMPLE, **named):
        """Time the module beside itself, or what is `named` in its place: the failure, or None."""
        how = {
            key: named.pop(key) for key in ("processes", "inputs", "runs", "cold") if key in named
        }
        paths = {"module": "module.so", "baseline": "module.so", "reference_module": "module.so"}
        return lockstep.run(
            self.engine(),
            "benchmark",
            inputs={key: str(folder / path) for key, path in (paths | named).items()},
            outputs={"samples": str(folder / "samples.csv")},
            settings={
                "benchmark": timed(**how),
                "input_shape": SHAPE,
            },
            limits=limits,
            threads=1,
            log=folder / "log",
            reference=reference,
        ).failure

    def profile(self, folder):
        """Return the profile of the module."""
        failure = self.run(
            "profile",
            folder,
            inputs={
                "module": "module.so",
                "ir": "quantized.ir",
                "params": "quantized.params",
                "imported": "imported.ir",
            },
            outputs={"operators": "operators.json"},
            input_shape=SHAPE,
            seed=0,
        ).failure
        assert failure is None, (folder / "log").read_text()
        return json.loads((folder / "operators.json").read_text())

    def answers(self, folder):
        """Run the module: what it answers to the images of the reference."""
        module = {"module": "module.so", "reference": "reference.npz"}
        assert self.run("run_once", folder, inputs=module).failure is None
        self.run("answer", folder, inputs=module, outputs={"answers": "answers.npz"})
        return np.load(folder / "answers.npz")["output"]

    def difference(self, folder):
        """Run the module: the greatest difference from PyTorch's answers, of their scale."""
        expected = np.load(folder / "reference.npz")["output"]
        return np.abs(self.answers(folder) - expected).max() / np.abs(expected).max()
