"""Images: what a model's quantization is calibrated on, and what its answers are compared on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from bitsweep import digits, labels
from bitsweep.config import Model
from bitsweep.errors import UserError, in_a_line
from bitsweep.models import torchvision

# ImageNet's, which every classifier of torchvision is trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RESIZE = 256 / 224


@dataclass(frozen=True)
class Images:
    """Float32 arrays (N, *input_shape), disjoint.

    `labels`, int64 (N,), are places in `classes` of those of `evaluation`; None if not known.
    """

    calibration: np.ndarray
    evaluation: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()


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


def _random(settings: Model) -> Images:
    generator = np.random.default_rng(settings.seed)
    count = settings.calibration_images + settings.images
    return _split(
        generator.standard_normal((count, *settings.input_shape), dtype=np.float32), settings
    )


def _split(images: np.ndarray, settings: Model) -> Images:
    first = settings.calibration_images
    return Images(images[:first], images[first:])


def _digits(settings: Model) -> Images:
    split = digits.images()
    for key, wanted in (("train", settings.calibration_images), ("held_out", settings.images)):
        if len(split[key]) < wanted:
            raise UserError(f"digits has {len(split[key])} {key} images, not {wanted}")
    if settings.input_shape != split["train"].shape[1:]:
        raise UserError(f"digits has input_shape [1, 8, 8], not {list(settings.input_shape)}")
    return Images(
        split["train"][: settings.calibration_images],
        split["held_out"][: settings.images],
        split["held_out_labels"][: settings.images],
        tuple(map(str, range(10))),
    )


def _crops(photos: list[Image.Image], settings: Model) -> Images:
    """Random crops of few photos, in turn, as a classifier's training would see them."""
    v2 = _transforms()
    crop = v2.RandomResizedCrop(settings.input_shape[1:], scale=(0.1, 1.0), antialias=True)
    count = settings.calibration_images + settings.images
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
    count = settings.calibration_images + settings.images
    if len(samples) < count:
        raise UserError(
            f"data {path} has {len(samples)} images, not the {count} that calibration_images and "
            "images add up to"
        )
    chosen = np.random.default_rng(settings.seed).permutation(len(samples))[:count]
    images = (_centred(_open(Path(samples[i][0])), settings) for i in chosen)
    places = np.array([samples[i][1] for i in chosen], dtype=np.int64)
    split = _split(_filled(images, count, settings), settings)
    evaluated = places[settings.calibration_images :]
    return Images(split.calibration, split.evaluation, evaluated, classes)


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
