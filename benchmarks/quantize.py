"""Time and memory that quantizing a model of torchvision takes.

    python benchmarks/quantize.py [MODEL [PRESET [CALIBRATION_IMAGES]]]

Takes resnet50 to w4a8 on 32 images by default, with seeded weights, and prints the seconds of
`quantize` and the most memory that the process, PyTorch and all, has used.
"""

import resource
import sys
import time
import warnings
from pathlib import Path

import torch
from tvm.relax.frontend.torch import from_exported_program

sys.path.insert(0, str(Path(__file__).parents[1]))

from bitsweep import data, models
from bitsweep.config import Model
from bitsweep.relax import PRESETS, coverage, quantize


def main(model: str = "resnet50", preset: str = "w4a8", calibration_images: str = "32") -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    settings = Model(factory=model, images=1, calibration_images=int(calibration_images))
    images = data.load(settings)
    network = models.load(settings, torch.from_numpy(images.calibration))
    example = torch.from_numpy(images.evaluation)
    module = from_exported_program(
        torch.export.export(network, (example,)), unwrap_unit_return_tuple=True
    )
    start = time.monotonic()
    quantized = quantize(module, PRESETS[preset], images.calibration)
    seconds = time.monotonic() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{model} {preset}, {calibration_images} images: {seconds:.1f} s, {peak_mib:.0f} MiB")
    print(coverage(quantized))


if __name__ == "__main__":
    main(*sys.argv[1:])
