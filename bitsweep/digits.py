"""A small residual network on scikit-learn's handwritten digits: the embedded real model."""

import json
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from bitsweep.artifact import replacing, write_text

HELD_OUT = 0.3


def images(split: int = 0) -> dict[str, np.ndarray]:
    """Return the 1,797 digits, split at random by a seed of its own, classes in proportion.

    Whatever trains and whatever evaluates takes the same `split`, the default, so that no weights
    are judged on digits that they were trained on. Keys `train`, `held_out`: float32
    (N, 1, 8, 8), 0 to 1; `train_labels`, `held_out_labels`: int64 (N,). Source: the test set of
    UCI's optical recognition of handwritten digits, by scikit-learn.
    """
    data = load_digits()
    pixels = (data.images / 16.0).astype(np.float32)[:, None]
    train, held_out, train_labels, held_out_labels = train_test_split(
        pixels, data.target, test_size=HELD_OUT, random_state=split, stratify=data.target
    )
    return {
        "train": train,
        "held_out": held_out,
        "train_labels": train_labels.astype(np.int64),
        "held_out_labels": held_out_labels.astype(np.int64),
    }


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


def train(seed: int, epochs: int = 40, batch: int = 64) -> tuple[nn.Module, float]:
    """Train on the seven tenths and return the network with its held-out top-1 accuracy.

    Deterministic for a seed, which initialises, shuffles and shifts; the split is the same for
    all. One-cycle schedule (Smith & Topin 2017), digits shifted by up to one
    pixel at random.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    split = images()
    inputs = torch.from_numpy(split["train"])
    labels = torch.from_numpy(split["train_labels"])
    network = residual_network()
    steps = epochs * (len(inputs) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(inputs))[: len(inputs) // batch * batch]
        for chosen in order.split(batch):
            optimizer.zero_grad()
            loss(network(_shifted(inputs[chosen])), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        answers = network(torch.from_numpy(split["held_out"])).argmax(1).numpy()
    return network, float((answers == split["held_out_labels"]).mean())


def _shifted(batch: torch.Tensor) -> torch.Tensor:
    down, right = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(nn.functional.pad(batch, (1, 1, 1, 1)), (down, right), (2, 3))[
        :, :, 1:-1, 1:-1
    ]


def write(seed: int, weights: Path | str, training: Path | str) -> None:
    """Train, and write the state dict to `weights` and how it went to `training` (JSON)."""
    start = time.monotonic()
    network, accuracy = train(seed)
    with replacing(weights) as temporary:
        torch.save(network.state_dict(), temporary)
    record = {
        "seed": seed,
        "held_out_top1_accuracy": accuracy,
        "seconds": time.monotonic() - start,
    }
    write_text(training, json.dumps(record, indent=2) + "\n")
