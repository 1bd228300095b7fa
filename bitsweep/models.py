"""Classifiers: torchvision's by name, or own ones, with the weights that the config names."""

import difflib
import importlib
import json
import math
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from bitsweep.artifact import write_text
from bitsweep.config import Model
from bitsweep.errors import UserError, in_a_line


def torchvision() -> ModuleType:
    """Import torchvision, also where torch was built without CUDA.

    The wheel's operator library needs CUDA's torch; without it torchvision stops at registering
    fake kernels for two operators that nobody defined. Classifiers never call them: their schemas
    suffice.
    """
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            _DEFINED.append(torch.library.Library("torchvision", "FRAGMENT"))
            _DEFINED[-1].define(
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
    return importlib.import_module("torchvision")


_BATCH_VALUES = 64 * 3 * 224 * 224  # of the input: so much runs through a network at once
_TOLERANCE = 1e-3  # of the largest logit: what a batch's other kernels round stays far below
_ROUNDING = 1e-6

_DEFINED: list[torch.library.Library] = []  # a definition lives as long as its Library


def load(settings: Model, calibration: torch.Tensor) -> nn.Module:
    """Return the classifier in evaluation mode.

    `calibration`, float32 (N, *input_shape), serves `weights: seeded`: statistics of batch norm
    are set from it, without which activations of an untrained network vanish or explode. A last
    layer of zeros, as torchvision's vision transformers have, is drawn anew there. Raises
    `UserError` for a factory, weights or checkpoint that cannot be used.
    """
    network = made(settings, settings.seed)
    if settings.weights_are_path:
        _load_checkpoint(network, Path(settings.weights))
    elif settings.weights == "seeded":
        _calibrate_batch_norm(network, calibration)
        _draw_head(network)
    elif ":" in settings.factory:
        raise _no_download(settings)
    return network.eval()


def made(settings: Model, seed: int) -> nn.Module:
    """Return the classifier as its factory initialises it after torch was given `seed`.

    Torchvision's has the weights that `settings` name. Raises `UserError` for a factory or weights
    that cannot be used.
    """
    torch.manual_seed(seed)
    return _own(settings.factory) if ":" in settings.factory else _torchvision(settings)


def download(settings: Model, record: Path | str) -> None:
    """Put the weights of torchvision's into torch's cache, and say in `record`, JSON, which.

    Raises `UserError` for weights that torchvision does not have or that cannot be had.
    """
    if ":" in settings.factory:
        raise _no_download(settings)
    network = _torchvision(settings)
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    said = {"factory": settings.factory, "weights": settings.weights, "bytes": size}
    write_text(record, json.dumps(said, indent=2) + "\n")


def categories(settings: Model) -> list[str] | None:
    """Return what torchvision's weights call each output, or None where they do not say."""
    if not settings.weights_are_downloaded:
        return None
    weights = torchvision().models.get_model_weights(settings.factory)[settings.weights]
    return weights.meta.get("categories")


def _no_download(settings: Model) -> UserError:
    return UserError(
        f"weights {settings.weights!r} of {settings.factory}: an own model takes `seeded` or "
        "the path of a checkpoint"
    )


def _own(factory: str) -> nn.Module:
    module_name, _, function_name = factory.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (Exception, SystemExit) as error:  # importing a module runs its code
        raise UserError(f"factory {factory!r} cannot be imported: {in_a_line(error)}") from error
    try:
        network = function()
    except (Exception, SystemExit) as error:
        raise UserError(
            f"factory {factory!r} did not return a torch Module: it raised {in_a_line(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(
            f"factory {factory!r} did not return a torch Module but {type(network).__name__}"
        )
    return network


def _torchvision(settings: Model) -> nn.Module:
    models = torchvision().models
    known = models.list_models(module=models)
    if settings.factory not in known:
        near = ", ".join(difflib.get_close_matches(settings.factory, known, 3)) or known[0]
        raise UserError(
            f"factory {settings.factory!r} is not a classifier of torchvision; near it: {near}; "
            "an own model is named module:function"
        )
    if not settings.weights_are_downloaded:
        return models.get_model(settings.factory, weights=None)
    available = models.get_model_weights(settings.factory)
    if settings.weights not in available.__members__:
        raise UserError(
            f"weights {settings.weights!r} of {settings.factory} are unknown; allowed: seeded, "
            f"a path, {', '.join(available.__members__)}"
        )
    try:
        return models.get_model(settings.factory, weights=available[settings.weights])
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"weights {settings.weights} of {settings.factory} could not be downloaded "
            f"({in_a_line(error)}); offline, use `weights: seeded` or the path of a checkpoint"
        ) from error


def _load_checkpoint(network: nn.Module, path: Path) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"checkpoint {path} does not exist") from error
    except Exception as error:  # reading a damaged pickle may raise anything
        raise UserError(f"checkpoint {path} cannot be read: {in_a_line(error)}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    try:
        network.load_state_dict(state)
    except Exception as error:  # a state may be anything, and so may its network's hooks
        raise UserError(
            f"checkpoint {path} does not fit the network: {' '.join(str(error).split())[:300]}"
        ) from error


def _calibrate_batch_norm(network: nn.Module, images: torch.Tensor) -> None:
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a plain average
            module.train()
    # Each batch is at least of two: one value has no variance.
    batches = max(1, min(math.ceil(images.numel() / _BATCH_VALUES), len(images) // 2))
    with torch.no_grad():
        for batch in images.tensor_split(batches):
            forward(network, batch)


def _draw_head(network: nn.Module) -> None:
    """Give the last layer weights where it has none: zeros answer every image alike."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    if layers and not layers[-1].weight.any():
        layers[-1].reset_parameters()


def answer(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the logits (N, classes) of images that are given one at a time, as TVM has them."""
    return torch.cat([forward(network, image) for image in images.split(1)])


def require_an_answer_to_each(network: nn.Module, images: torch.Tensor) -> None:
    """Run a few images together, alone, and alone again.

    Raises `UserError` where what the network answers to an image rests on those beside it, or on
    chance: no compiled module could answer the same.
    """
    together = forward(network, images)
    try:
        alone, again = answer(network, images), answer(network, images)
    except UserError as error:
        raise UserError(f"the network takes several images but not one alone: {error}") from error
    if not _agree(alone, again):
        raise UserError(
            "the network answers an image differently each time: dropout or something else random "
            "is active in evaluation mode"
        )
    if not _agree(alone, together):
        raise UserError(
            "the network's answer to an image depends on the images beside it, as where batch norm "
            "has no running statistics; compiled, it is given one at a time"
        )


def _agree(one: torch.Tensor, other: torch.Tensor) -> bool:
    atol = _TOLERANCE * float(other.abs().max())
    return torch.allclose(one, other, rtol=0, atol=atol, equal_nan=True)


def is_constant(answers: torch.Tensor) -> bool:
    """Return whether answers (N, classes) are one for all images, to within float32's rounding."""
    spread = (answers.amax(0) - answers.amin(0)).max()
    return bool(spread <= _ROUNDING * answers.abs().max())


def forward(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Run the network; raise `UserError` where it does not take the images or is no classifier."""
    try:
        outputs = network(images)
    except Exception as error:  # a network is code of the user's
        shape = tuple(images.shape[1:])
        raise UserError(
            f"the network does not take inputs of shape {shape}: {in_a_line(error)}"
        ) from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or len(outputs) != len(images):
        raise UserError(
            "the network is no classifier: its output is not one row of logits an image"
        )
    if outputs.shape[1] < 2:
        raise UserError(
            "the network is no classifier: it has one output, whose largest is always right; a "
            "classifier has an output for each class, and so two for two"
        )
    return outputs
