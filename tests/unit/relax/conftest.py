"""A trained network and what the presets make of it, once for all tests of the quantizer."""

import functools

import pytest

from bitsweep import digits, training
from bitsweep.config import Model
from bitsweep.relax import PRESETS, observe
from bitsweep.relax.machine import host
from bitsweep.relax.quantizer import simulate
from bitsweep.relax.transform.pack import pack
from bitsweep.relax.transform.realise import realise
from tests.unit.relax import torch_networks
from tests.unit.relax.compiled import Exposed


@pytest.fixture(scope="session")
def target():
    """This machine's CPU."""
    return host()


@pytest.fixture(scope="session")
def split():
    """The digits that are trained on, and those that are held out."""
    images, labels = digits.load()
    return {
        name + kind: of_each[digits.splits()[split]]
        for name, split in (("train", "training"), ("held_out", "test"))
        for kind, of_each in (("", images), ("_labels", labels))
    }


@pytest.fixture(scope="session")
def trained():
    """The network of handwritten digits after twelve of its epochs."""
    network, _ = training.train(
        Model(
            factory="bitsweep.digits:residual_network",
            data="digits",
            input_shape=(1, 8, 8),
            train={"epochs": 12},
        )
    )
    return network


@pytest.fixture(scope="session")
def imported(trained, split):
    """The same as a Relax module of one image."""
    return torch_networks.imported(trained, split["train"])


@pytest.fixture(scope="session")
def simulated(imported, split, target):
    """The network rounded as the preset of a name says, still in floats."""
    images = split["train"][:64]
    seen = observe(imported, images, target)
    return functools.cache(lambda preset: simulate(imported, PRESETS[preset], images, target, seen))


@pytest.fixture(scope="session")
def quantized(simulated):
    """The network quantized with the preset of a name."""
    return functools.cache(lambda preset: pack(realise(simulated(preset))))


@pytest.fixture(scope="session")
def compiled(quantized, target):
    """The same compiled, every tensor to be seen."""
    return functools.cache(lambda preset: Exposed(quantized(preset), target))
