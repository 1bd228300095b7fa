"""Trace a classifier: TorchScript, `torch.export` program, and PyTorch's own answers."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from bitsweep import data, labels, models
from bitsweep.config import Model
from bitsweep.errors import UserError, in_a_line


def trace(name: str, settings: Model, outputs: Mapping[str, str]) -> None:
    """Write what every engine starts from, to the paths in `outputs`:

    - `torchscript`, `exported`: the network at batch size 1;
    - `calibration`: npz with `input`, float32 (N, C, H, W);
    - `reference`: npz with the test images as `input`, PyTorch's `output` (N, classes), and `label`
      (N,) if known;
    - `selection`: the same of the images that a search may look at;
    - `description`: JSON that says what the model is, and which images are in which split.

    Raises `UserError` for whatever of the settings cannot be used.
    """
    images = data.load(settings)
    network = models.load(settings, torch.from_numpy(images.calibration))
    evaluation = torch.from_numpy(images.evaluation)
    example = evaluation[:1].clone()  # a view would be saved with all of its storage
    with torch.no_grad():
        few = torch.cat([evaluation[:2], torch.from_numpy(images.calibration[:2])])
        models.require_an_answer_to_each(network, few)
        answers = models.answer(network, evaluation)
        selected = models.answer(network, torch.from_numpy(images.selection))
        if not (torch.isfinite(answers).all() and torch.isfinite(selected).all()):
            raise UserError(f"model {name}: PyTorch's own answers are not finite")
        if models.is_constant(torch.cat([answers, models.answer(network, few)])):
            raise UserError(
                f"model {name}: PyTorch's own answer is the same to every image, as where a layer "
                "is all zero; trained weights or other images are wanted"
            )
    known, known_selected, indices = {}, {}, None
    if images.labels is not None:
        indices = labels.indices(
            settings.data, images.classes, answers.shape[1], models.categories(settings)
        )
        outputs_of_classes = np.array([indices[name] for name in images.classes])
        known["label"] = outputs_of_classes[images.labels]
        known_selected["label"] = outputs_of_classes[images.selection_labels]
    with torch.no_grad():
        with _tracing_by("torch.jit.trace"):
            traced = torch.jit.trace(network, example)
        torch.jit.save(traced, outputs["torchscript"])
        with _tracing_by("torch.export.export"):
            exported = torch.export.export(network, (example,))
        torch.export.save(exported, outputs["exported"])
    np.savez(outputs["calibration"], input=images.calibration)
    np.savez(outputs["reference"], input=images.evaluation, output=answers.numpy(), **known)
    np.savez(
        outputs["selection"], input=images.selection, output=selected.numpy(), **known_selected
    )
    description = {
        "model": name,
        "factory": settings.factory,
        "weights": settings.weights,
        "trained": settings.weights != "seeded",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "input_shape": settings.input_shape,
        "classes": answers.shape[1],
        "images": len(evaluation),
        "labelled": images.labels is not None,
        "class_indices": indices,
        "data": settings.data,
        "splits": images.splits,
    }
    Path(outputs["description"]).write_text(json.dumps(description, indent=2) + "\n")


@contextmanager
def _tracing_by(function: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what the network does may be more than PyTorch follows
        raise UserError(
            f"the network cannot be traced by {function}: {in_a_line(error)}"
        ) from error
