"""Images in disjoint splits: to train on, to calibrate on, to select by, and to test on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from bitsweep import digits, labels
from bitsweep.config import LABELLED, Model
from bitsweep.errors import UserError, in_a_line
from bitsweep.models import torchvision

# ImageNet's, which every classifier of torchvision is trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RESIZE = 256 / 224

SIZES = {"images": "test", "calibration_images": "calibration", "selection_images": "selection"}
"""The split that each of a model's counts is the size of."""

_DIGITS = tuple(map(str, range(10)))


@dataclass(frozen=True)
class Images:
    """Float32 arrays (N, *input_shape), disjoint: what quantization is calibrated on, what a search
    may look at, and what tables report.

    `labels` and `selection_labels`, int64 (N,), are places in `classes` of those of `evaluation`
    and of `selection`; None if not known. `splits` are the images of each split in order, those
    that may be trained on too: places among the digits, names of files in a folder, or numbers in
    the sequence that the seed draws.
    """

    calibration: np.ndarray
    selection: np.ndarray
    evaluation: np.ndarray
    splits: Mapping[str, list[int] | list[str]]
    selection_labels: np.ndarray | None = None
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Training:
    """What a network is trained on: `labels`, int64 (N,), are places in `classes`.

    `images`, indexed by places (n,), gives float32 (n, *input_shape); a folder's are decoded then.
    """

    images: Any
    labels: np.ndarray
    classes: tuple[str, ...]


def load(settings: Model) -> Images:
    """Return a model's images, the same for the same settings.

    Raises `UserError` for an image that cannot be read, too few images, or a shape that the data
    cannot have.
    """
    if settings.data == "random":
        return _random(settings)
    if settings.data == "digits":
        return _digits(settings)
    if settings.input_shape[0] != 3:
        raise UserError(
            f"data {settings.data!r} has 3 channels, input_shape {list(settings.input_shape)} "
            f"{settings.input_shape[0]}"
        )
    if settings.data == "photos":
        return _crops([Image.fromarray(photo) for photo in load_sample_images().images], settings)
    path = Path(settings.data)
    if path.is_dir():
        return _folder(path, settings)
    return _crops([_open(path)], settings)


def training(settings: Model) -> Training:
    """Return the images that are in none of the other splits, with their labels.

    Raises `UserError` for data without labels, or where the other splits leave none.
    """
    if settings.data == "digits":
        images, of_each = digits.load(settings.input_shape)
        chosen = digits.splits()["training"]
        return Training(images[chosen], of_each[chosen], _DIGITS)
    path = Path(settings.data)
    if not path.is_dir():
        raise UserError(f"data {settings.data} has no labels to train on; {LABELLED}")
    samples, classes = _samples(path)
    chosen = _folder_splits(path, len(samples), settings)["training"]
    files = [samples[index] for index in chosen]
    places = np.array([place for _, place in files], dtype=np.int64)
    return Training(_Files([Path(file) for file, _ in files], settings), places, classes)


class _Files:
    """Images that are decoded when they are indexed: a folder's may not fit into memory."""

    def __init__(self, files: list[Path], settings: Model):
        self.files, self.settings = files, settings

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        images = (_centred(_open(self.files[index]), self.settings) for index in chosen)
        return _filled(images, len(chosen), self.settings)


def _random(settings: Model) -> Images:
    generator = np.random.default_rng(settings.seed)
    count = settings.all_images
    return _split(
        generator.standard_normal((count, *settings.input_shape), dtype=np.float32), settings
    )


def _split(images: np.ndarray, settings: Model) -> Images:
    ends = np.cumsum([settings.calibration_images, settings.images])
    calibration, evaluation, selection = np.split(images, ends)
    numbers = map(np.ndarray.tolist, np.split(np.arange(len(images)), ends))
    splits = dict(zip(("calibration", "test", "selection"), numbers, strict=True))
    return Images(calibration, selection, evaluation, splits)


def _digits(settings: Model) -> Images:
    images, of_each = digits.load(settings.input_shape)
    splits = digits.splits()
    for key, name in SIZES.items():
        wanted = getattr(settings, key)
        if len(splits[name]) < wanted:
            raise UserError(f"digits has {len(splits[name])} {name} images, not {wanted}")
        splits[name] = splits[name][:wanted]
    return Images(
        images[splits["calibration"]],
        images[splits["selection"]],
        images[splits["test"]],
        {name: places.tolist() for name, places in splits.items()},
        of_each[splits["selection"]],
        of_each[splits["test"]],
        _DIGITS,
    )


def _crops(photos: list[Image.Image], settings: Model) -> Images:
    """Random crops of few photos, in turn, as a classifier's training would see them."""
    v2 = _transforms()
    crop = v2.RandomResizedCrop(settings.input_shape[1:], scale=(0.1, 1.0), antialias=True)
    count = settings.all_images
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        crops = (_normalized(crop(photos[index % len(photos)])) for index in range(count))
        return _split(_filled(crops, count, settings), settings)


def _filled(images: Iterable[np.ndarray], count: int, settings: Model) -> np.ndarray:
    """Return so many images in one array, without another copy of them all.

    Channels are last in memory, as images are decoded: the last bits of what PyTorch computes, and
    so of a seeded network's statistics, rest on that.
    """
    channels, height, width = settings.input_shape
    pixels = np.dtype((np.float32, (height, width, channels)))
    filled = np.fromiter((image.transpose(1, 2, 0) for image in images), pixels, count)
    return filled.transpose(0, 3, 1, 2)


def _folder(path: Path, settings: Model) -> Images:
    samples, classes = _samples(path)
    splits = _folder_splits(path, len(samples), settings)
    files = [Path(file) for file, _ in samples]
    places = np.array([place for _, place in samples], dtype=np.int64)
    calibration, selection, evaluation = (
        _Files(files, settings)[splits[name]] for name in ("calibration", "selection", "test")
    )
    return Images(
        calibration,
        selection,
        evaluation,
        {
            name: [str(files[index].relative_to(path)) for index in chosen]
            for name, chosen in splits.items()
        },
        places[splits["selection"]],
        places[splits["test"]],
        classes,
    )


def _samples(path: Path) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
    """The files of a folder of images, each with its class's place among the classes."""
    folder = torchvision().datasets.folder
    visible = (entry.name for entry in path.iterdir() if entry.is_dir() and entry.name[0] != ".")
    classes = tuple(sorted(visible, key=labels.natural))

    def is_image(file: str) -> bool:
        parts = Path(file).relative_to(path).parts
        hidden = any(part.startswith(".") for part in parts)
        return not hidden and folder.has_file_allowed_extension(file, folder.IMG_EXTENSIONS)

    samples = []
    if classes:
        place = {name: index for index, name in enumerate(classes)}
        samples = folder.make_dataset(path, place, is_valid_file=is_image, allow_empty=True)
    empty = sorted(set(classes) - {classes[index] for _, index in samples})
    if not classes or empty:
        named = f": {empty[0]!r} has none" if empty else ""
        raise UserError(f"data {path}: not a folder with a folder of images per class{named}")
    return samples, classes


def _folder_splits(path: Path, there: int, settings: Model) -> dict[str, np.ndarray]:
    """Which of a folder's images are in each split; test is first, so that no other moves it.

    What is left is to be trained on, if anything is.
    """
    count = settings.all_images
    if there < count + (settings.train is not None):
        left = ", which leaves none to train on" if there >= count else ""
        raise UserError(
            f"data {path} has {there} images, not the {count} that images, calibration_images "
            f"and selection_images add up to{left}"
        )
    splits, first = {}, 0
    order = np.random.default_rng(settings.seed).permutation(there)
    for key, name in SIZES.items():
        splits[name] = order[first : first + getattr(settings, key)]
        first += len(splits[name])
    if settings.train is not None:
        splits["training"] = order[first:]
    return splits


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise UserError(f"image {path} does not exist") from error
    except Exception as error:  # decoding a damaged file may raise anything
        raise UserError(f"image {path} cannot be read: {in_a_line(error)}") from error


def _centred(photo: Image.Image, settings: Model) -> np.ndarray:
    v2 = _transforms()
    height, width = settings.input_shape[1:]
    resized = v2.functional.resize(photo, round(max(height, width) * _RESIZE), antialias=True)
    return _normalized(v2.functional.center_crop(resized, (height, width)))


def _normalized(photo: Image.Image) -> np.ndarray:
    pixels = np.asarray(photo, dtype=np.float32).transpose(2, 0, 1) / 255
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (_MEAN, _STD))
    return (pixels - mean) / std


def _transforms():
    torchvision()
    from torchvision.transforms import v2

    return v2
