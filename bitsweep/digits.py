"""scikit-learn's handwritten digits: images, labels, splits, and networks to train on them."""

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from bitsweep.models import torchvision

SPLITS = {"test": 540, "selection": 240, "calibration": 96, "training": 921}
"""How many of the 1,797 digits are in each split."""


def splits(seed: int = 0) -> dict[str, np.ndarray]:
    """Return the places, int64 (N,), of each split's digits: disjoint, classes in proportion.

    Whatever trains and whatever evaluates takes the same `seed`, the default, so that no weights
    are judged on digits that they were trained on.
    """
    labels, rest, found = load_digits().target, np.arange(sum(SPLITS.values())), {}
    for name, count in SPLITS.items():
        chosen = rest
        if count < len(rest):
            rest, chosen = train_test_split(
                rest, test_size=count, random_state=seed, stratify=labels[rest]
            )
        found[name] = chosen
    return found


@cache
def load(input_shape: tuple[int, int, int] = (1, 8, 8)) -> tuple[np.ndarray, np.ndarray]:
    """Return the 1,797 digits, float32 (N, *input_shape), 0 to 1, and their labels, int64 (N,).

    Sizes other than 8×8 are interpolated bilinearly, without smoothing before they are made
    smaller; all channels are alike. Source: the test set of UCI's optical recognition of
    handwritten digits, by scikit-learn.
    """
    data = load_digits()
    channels, *size = input_shape
    pixels = torch.from_numpy((data.images / 16.0).astype(np.float32))[:, None]
    if size != [8, 8]:
        pixels = nn.functional.interpolate(pixels, size, mode="bilinear", align_corners=False)
    return pixels.expand(-1, channels, -1, -1).numpy(), data.target.astype(np.int64)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm beside a shortcut (He et al. 2015, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def residual_network() -> nn.Module:
    """Return the untrained network: (N, 1, 8, 8) to (N, 10) logits."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        ResidualBlock(16, 16, 1),
        ResidualBlock(16, 32, 2),
        ResidualBlock(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def resnet50() -> nn.Module:
    """Return torchvision's untrained ResNet50, of ten outputs: (N, 3, H, W) to (N, 10) logits."""
    return torchvision().models.resnet50(weights=None, num_classes=10)
