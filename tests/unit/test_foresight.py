import sys
from contextlib import nullcontext

import pytest

from bitsweep import config, data, digits, foresight
from bitsweep.errors import UserError
from bitsweep.models import torchvision


def checked(**model):
    raw = {"sweep": {"models": ["m"], "precisions": ["float32"]}, "models": {"m": model}}
    foresight.check(config.load(raw))


def test_the_classifiers_are_those_that_torchvision_lists():
    models = torchvision().models
    assert list(foresight.classifiers()) == sorted(models.list_models(module=models))


def test_the_digits_are_as_many_as_there_are():
    assert {key: digits.SPLITS[split] for key, split in data.SIZES.items()} == foresight.DIGITS


@pytest.mark.parametrize(
    "model",
    [
        {"factory": "resnet50"},
        {"factory": "os:system"},
        {"factory": "sys:exit"},
        {"factory": "bitsweep.digits:residual_network"},
        {"factory": "own_module:network"},
        {"factory": "resnet18", "data": "random", "input_shape": [4, 9, 9]},
        {"factory": "resnet18", "data": "digits", "input_shape": [1, 8, 8], "images": 540},
        {"factory": "resnet18", "data": "digits", "input_shape": [3, 64, 48]},
    ],
)
def test_what_may_be_is_let_through(tmp_path, monkeypatch, model):
    (tmp_path / "own_module.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    checked(**model)
    assert "own_module" not in sys.modules


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"factory": "resnet5"}, "factory = 'resnet5' is not a classifier of torchvision; near"),
        ({"factory": "resnet5"}, "resnet50"),
        ({"factory": "zzz"}, "of torchvision; an own model is named module:function"),
        ({"factory": "no_such.nets:build"}, "there is no module 'no_such'"),
        (
            {"factory": "resnet18", "images": 10**9},
            "they take 574,218,796 MB, more than half of limits.memory_mb = 8192",
        ),
        ({"factory": "resnet18", "input_shape": [1, 8, 8]}, "data 'photos' has 3 channels"),
        (
            {"factory": "resnet18", "data": "digits", "input_shape": [1, 8, 8], "images": 541},
            "images = 541: digits have 540",
        ),
        (
            {"factory": "resnet18", "data": "digits", "input_shape": [2, 8, 8]},
            "[2, 8, 8]: digits have 1 or 3 channels",
        ),
        (
            {"factory": "resnet18", "data": "digits", "selection_images": 241},
            "selection_images = 241: digits have 240",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(model, told):
    with pytest.raises(UserError) as caught:
        checked(**model)
    sentence = str(caught.value)
    assert sentence.startswith("config: models.m.")
    assert told in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(("megabytes", "fits"), [(512, True), (513, False)])
def test_images_may_take_half_of_what_a_process_has(megabytes, fits):
    """Images of a megabyte each, those of all splits counted."""
    model = {"factory": "resnet18", "data": "random", "input_shape": [1, 512, 512]}
    model |= {"images": megabytes - 20, "calibration_images": 12, "selection_images": 8}
    raw = {
        "sweep": {"models": ["m"], "precisions": ["float32"]},
        "models": {"m": model},
        "limits": {"memory_mb": 1024},
    }
    told = pytest.raises(UserError, match="they take 513 MB, more than half of limits")
    with nullcontext() if fits else told:
        foresight.check(config.load(raw))


def test_every_mistake_is_told():
    with pytest.raises(UserError, match=r"models\.m\.factory = .*; models\.m\.images = "):
        checked(factory="resnet5", images=10**9)
