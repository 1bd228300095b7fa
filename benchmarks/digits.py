"""Accuracy of the quantized digits network: every preset, several training seeds.

    python benchmarks/digits.py [SEEDS [CALIBRATION_IMAGES [PRESET ...]]]

Trains one network a seed (5 seeds), quantizes each on calibration images (64) to each preset (all),
and prints the top-1 accuracy on the 540 test images for each seed, and the mean over the seeds.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import tvm
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program

sys.path.insert(0, str(Path(__file__).parents[1]))

from bitsweep import data, training
from bitsweep.config import Model
from bitsweep.relax import PRESETS, build, canonicalise, quantize

EPOCHS = 40


def main(seeds: str = "5", calibration_images: str = "64", *presets: str) -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    accuracy: dict[str, list[float]] = {name: [] for name in ("float32", *(presets or PRESETS))}
    for seed in range(int(seeds)):
        settings = Model(
            factory="bitsweep.digits:residual_network",
            data="digits",
            input_shape=(1, 8, 8),
            images=540,
            calibration_images=int(calibration_images),
            train={"epochs": EPOCHS, "seed": seed},
        )
        network, _ = training.train(settings)
        images = data.load(settings)
        example = torch.from_numpy(images.evaluation[:1].copy())
        module = canonicalise(
            from_exported_program(
                torch.export.export(network, (example,)), unwrap_unit_return_tuple=True
            )
        )
        for name in accuracy:
            quantized = module
            if name != "float32":
                quantized = quantize(module, PRESETS[name], images.calibration)
            machine = relax.VirtualMachine(build(quantized), tvm.cpu())
            chosen = [
                machine["main"](tvm.runtime.tensor(image[None])).numpy().argmax()
                for image in images.evaluation
            ]
            accuracy[name].append(100 * float(np.mean(np.array(chosen) == images.labels)))
            print(f"seed {seed} {name:12} {accuracy[name][-1]:6.2f}", flush=True)
    for name, values in accuracy.items():
        spread = ", ".join(f"{value:.1f}" for value in values)
        print(f"mean of {seeds}: {name:12} {np.mean(values):6.2f}  ({spread})")


if __name__ == "__main__":
    main(*sys.argv[1:])
