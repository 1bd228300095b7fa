"""What can be known of a config's models before any job runs, without PyTorch."""

import difflib
import math
import re
import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from bitsweep.config import Config, Model
from bitsweep.errors import UserError

DIGITS = {"images": 540, "calibration_images": 96, "selection_images": 240}
"""How many of scikit-learn's handwritten digits each split has beside those that are trained on."""

_FLOAT_BYTES = 4
_IMAGES_SHARE = 1 / 2  # of a process's memory: the network, its answers and TVM take the rest
_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def check(config: Config) -> None:
    """Raise `UserError` with a sentence for each model swept that cannot be loaded or held."""
    mistakes = [
        f"models.{name}.{mistake}"
        for name, model in ((name, config.models[name]) for name in config.sweep.models)
        for mistake in (_factory(model), _images(model), _memory(model, config.limits.memory_mb))
        if mistake
    ]
    if mistakes:
        raise UserError("config: " + "; ".join(mistakes))


@cache
def classifiers() -> tuple[str, ...]:
    """The names that the installed torchvision has classifiers by, none where it is not installed.

    As `torchvision.models.list_models(torchvision.models)`, from its sources.
    """
    found = PathFinder.find_spec("torchvision")
    if found is None or not found.origin:
        return ()
    sources = Path(found.origin).with_name("models").glob("*.py")
    texts = (path.read_text(encoding="utf-8") for path in sources)
    return tuple(sorted(name for text in texts for name in _REGISTERED.findall(text)))


def _factory(model: Model) -> str | None:
    module, colon, _ = model.factory.partition(":")
    if colon:
        top = module.partition(".")[0]
        # Found, not imported: that would run its code.
        if top in sys.builtin_module_names or PathFinder.find_spec(
            top, [str(Path.cwd()), *sys.path]
        ):
            return None
        return f"factory = {model.factory!r}: there is no module {top!r}"
    known = classifiers()
    if not known or model.factory in known:
        return None
    near = ", ".join(difflib.get_close_matches(model.factory, known, 3))
    hint = f"; near it: {near}" if near else ""
    return (
        f"factory = {model.factory!r} is not a classifier of torchvision{hint}; an own model is "
        "named module:function"
    )


def _images(model: Model) -> str | None:
    shape = list(model.input_shape)
    if model.data == "digits":
        for key, there in DIGITS.items():
            if getattr(model, key) > there:
                return f"{key} = {getattr(model, key)}: digits have {there}"
        return None if shape[0] in (1, 3) else f"input_shape = {shape}: digits have 1 or 3 channels"
    if model.data != "random" and shape[0] != 3:
        return f"input_shape = {shape}: data {model.data!r} has 3 channels"
    return None


def _memory(model: Model, limit_mb: int) -> str | None:
    needed_mb = model.all_images * math.prod(model.input_shape) * _FLOAT_BYTES / 2**20
    if needed_mb <= limit_mb * _IMAGES_SHARE:
        return None
    return (
        f"images = {model.images}: with calibration_images = {model.calibration_images} and "
        f"selection_images = {model.selection_images} of input_shape {list(model.input_shape)} "
        f"they take {needed_mb:,.0f} MB, more than half of limits.memory_mb = {limit_mb}, what a "
        "process has for them and the network"
    )
