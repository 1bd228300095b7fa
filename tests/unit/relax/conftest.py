"""A trained network and what the presets make of it, once for all tests of the quantizer."""

import functools

import pytest
import torch

from bitsweep import digits
from bitsweep.relax import PRESETS
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
    """The digits, and which are held out."""
    return digits.images(0)


@pytest.fixture(scope="session")
def trained():
    """The network of handwritten digits after twelve of its forty epochs, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network, _ = digits.train(0, epochs=12)
    finally:
        torch.set_num_threads(threads)
    return network.eval()


@pytest.fixture(scope="session")
def imported(trained, split):
    """The same as a Relax module of one image."""
    return torch_networks.imported(trained, split["train"])


@pytest.fixture(scope="session")
def simulated(imported, split, target):
    """The network rounded as the preset of a name says, still in floats."""
    images = split["train"][:64]
    return functools.cache(lambda preset: simulate(imported, PRESETS[preset], images, target))


@pytest.fixture(scope="session")
def quantized(simulated):
    """The network quantized with the preset of a name."""
    return functools.cache(lambda preset: pack(realise(simulated(preset))))


@pytest.fixture(scope="session")
def compiled(quantized, target):
    """The same compiled, every tensor to be seen."""
    return functools.cache(lambda preset: Exposed(quantized(preset), target))
