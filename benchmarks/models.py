"""Classifiers of torchvision through the quantizer: float and int8, beside PyTorch.

    TVM_NUM_THREADS=2 python benchmarks/models.py [MODEL ...]

For each model, with seeded weights: by how much the float module differs from PyTorch, relative to
the scale of the output; seconds to quantize on 4 photos and to build; milliseconds of a run,
float32 and int8; SQNR of int8; and how much of it runs in integers, which operators do not.
"""

import sys
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import torch
import tvm
from torch import nn
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program

sys.path.insert(0, str(Path(__file__).parents[1]))

from bitsweep import data, models
from bitsweep.config import Model
from bitsweep.relax import PRESETS, build, canonicalise, coverage, quantize

MODELS = (
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "vgg11",
    "squeezenet1_1",
    "shufflenet_v2_x0_5",
    "densenet121",
    "efficientnet_b0",
    "regnet_y_400mf",
    "vit_b_16",
)
_RUNS = 11


def main(names: list[str]) -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    print("model, float error, quantize s, build s, float ms, int8 ms, SQNR dB, integer MACs %")
    for name in names or MODELS:
        settings = Model(factory=name, images=4, calibration_images=4)
        images = data.load(settings)
        network = models.load(settings, torch.from_numpy(images.calibration))
        _fill_zeros(network)
        with torch.no_grad():
            expected = network(torch.from_numpy(images.evaluation)).numpy()
        exported = torch.export.export(network, (torch.from_numpy(images.evaluation[:1].copy()),))
        module = canonicalise(from_exported_program(exported, unwrap_unit_return_tuple=True))
        answers, float_ms, _ = _run(module, images.evaluation)
        error = np.abs(answers - expected).max() / np.abs(expected).max()
        start = time.monotonic()
        quantized = quantize(module, PRESETS["w8a8"], images.calibration)
        quantize_s = time.monotonic() - start
        answers, int8_ms, build_s = _run(quantized, images.evaluation)
        noise = np.square(answers - expected).sum()
        sqnr_db = 10 * np.log10(np.square(expected).sum() / noise)
        covered = coverage(quantized)
        print(
            f"{name:20} {error:8.1e} {quantize_s:6.1f} {build_s:6.1f} {float_ms:7.1f} "
            f"{int8_ms:7.1f} {sqnr_db:6.1f} {100 * covered['integer_macs'] / covered['macs']:6.1f} "
            f"{covered['float_operators']}",
            flush=True,
        )


def _fill_zeros(network: nn.Module) -> None:
    """Seed a last layer that torchvision initialises to zero (ViT's), which answers zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.trunc_normal_(module.weight, std=0.02)


def _run(module: tvm.IRModule, images: np.ndarray) -> tuple[np.ndarray, float, float]:
    start = time.monotonic()
    machine = relax.VirtualMachine(build(module), tvm.cpu())
    build_s = time.monotonic() - start
    inputs = [tvm.runtime.tensor(image[None]) for image in images]
    answers = np.concatenate([machine["main"](image).numpy() for image in inputs])
    times = []
    for _ in range(_RUNS):
        start = time.monotonic()
        machine["main"](inputs[0])
        times.append(1000 * (time.monotonic() - start))
    return answers, median(times), build_s


if __name__ == "__main__":
    main(sys.argv[1:])
