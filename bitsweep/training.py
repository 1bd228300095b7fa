"""Training: what makes the weights of a model with a section `train`, one recipe for all."""

import csv
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bitsweep import data, labels, models
from bitsweep.artifact import replacing, write_text
from bitsweep.config import Model
from bitsweep.errors import UserError

THREADS = 2
"""How many threads train, however many there are: in what order numbers are added rests on it."""

_WORTH_THREADS = 1024  # values an image; one thread is as fast for less, and faster beside others

_MOMENTUM = 0.9
_WEIGHT_DECAY = 5e-4
_LABEL_SMOOTHING = 0.05
_REACH = 8  # an image is shifted by up to this part of its sides, 4 of CIFAR's 32 pixels


class Epoch(NamedTuple):
    """How an epoch went: its mean loss, top-1 on the selection images after it, its time."""

    epoch: int
    loss: float
    selection_top1_accuracy: float
    seconds: float


def train(
    settings: Model, tell: Callable[[str], None] = lambda line: None
) -> tuple[nn.Module, list[Epoch]]:
    """Return the trained network, in evaluation mode, and how each epoch went; `tell` each.

    Deterministic on one type of machine for `settings.train.seed`, which initialises, shuffles and
    shifts. Stochastic gradient descent with Nesterov's momentum on the one-cycle schedule (Smith &
    Topin 2017), labels smoothed (Szegedy et al. 2015), images shifted at random. Raises `UserError`
    for data without labels, a network that does not take its images or has not an output for each
    class, and a loss that is no number.
    """
    with _repeatable(1 if math.prod(settings.input_shape) < _WORTH_THREADS else THREADS):
        return _train(settings, tell)


def _train(settings: Model, tell: Callable[[str], None]) -> tuple[nn.Module, list[Epoch]]:
    chosen = settings.train
    training, others = data.training(settings), data.load(settings)
    network = models.made(settings, chosen.seed)
    selection = torch.from_numpy(others.selection)
    with torch.no_grad():
        outputs = models.forward(network.eval(), selection[:2]).shape[1]
    indices = labels.indices(settings.data, training.classes, outputs, None)
    output_of = torch.tensor([indices[name] for name in training.classes])
    targets = output_of[torch.from_numpy(training.labels)]
    expected = output_of[torch.from_numpy(others.selection_labels)]
    batch = min(chosen.batch, len(targets))
    steps = len(targets) // batch
    optimizer = torch.optim.SGD(
        network.parameters(),
        chosen.learning_rate,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=_WEIGHT_DECAY,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, chosen.learning_rate, total_steps=chosen.epochs * steps
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=_LABEL_SMOOTHING)
    epochs = []
    for number in range(1, chosen.epochs + 1):
        start, total = time.monotonic(), 0.0
        network.train()
        for places in torch.randperm(len(targets))[: steps * batch].split(batch):
            images = _shifted(torch.from_numpy(training.images[places.numpy()]))
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16()):
                loss = criterion(models.forward(network, images).float(), targets[places])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if not np.isfinite(total):
            raise UserError(
                f"the loss of epoch {number} is not finite; train.learning_rate = "
                f"{chosen.learning_rate} is too large"
            )
        right = (_answers(network.eval(), selection).argmax(1) == expected).double().mean()
        epochs.append(Epoch(number, total / steps, float(right), time.monotonic() - start))
        tell(
            f"epoch {number}/{chosen.epochs}: loss {total / steps:.3f}, {100 * right:.1f} % of "
            f"{len(expected)} selection images right, {epochs[-1].seconds:.1f} s"
        )
    return network, epochs


@contextmanager
def _repeatable(number: int) -> Iterator[None]:
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(number)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict)


def multiplies_bfloat16() -> bool:
    """Return whether this CPU has instructions that multiply bfloat16; without, it is slower."""
    has = torch.cpu.get_capabilities().get
    return bool(has("avx512_bf16") or has("amx_bf16"))


def _answers(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([models.forward(network, batch) for batch in images.split(32)])


def _shifted(images: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W), each moved by up to an eighth of its sides; zeros come in."""
    height, width = images.shape[2:]
    down, right = max(1, height // _REACH), max(1, width // _REACH)
    padded = nn.functional.pad(images, (right, right, down, down))
    tops = torch.randint(0, 2 * down + 1, (len(images),)).tolist()
    lefts = torch.randint(0, 2 * right + 1, (len(images),)).tolist()
    return torch.stack(
        [
            image[:, top : top + height, left : left + width]
            for image, top, left in zip(padded, tops, lefts, strict=True)
        ]
    )


def write(
    name: str,
    settings: Model,
    *,
    weights: Path | str,
    record: Path | str,
    table: Path | str,
    tell: Callable[[str], None] = print,
) -> None:
    """Train the model called `name`; write its state dict, a record (JSON) and the epochs (CSV)."""
    network, epochs = train(settings, lambda line: tell(f"{name}: {line}"))
    with replacing(weights) as temporary:
        torch.save(network.state_dict(), temporary)
    with replacing(table) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([Epoch._fields, *epochs])
    said = {
        "train": settings.train.model_dump(mode="json"),
        "images": len(data.training(settings).labels),
        "bfloat16": multiplies_bfloat16(),
        "loss": epochs[-1].loss,
        "selection_top1_accuracy": epochs[-1].selection_top1_accuracy,
        "seconds": sum(epoch.seconds for epoch in epochs),
    }
    write_text(record, json.dumps(said, indent=2) + "\n")
