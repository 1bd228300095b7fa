"""PyTorch as an engine."""

from functools import partial

from bitsweep import tool_error
from bitsweep.engines.declared import Engine
from bitsweep.engines.torch.settings import Torch

ENGINE = Engine(
    traced="torchscript",
    requirements={"environment": "requirements/torch.txt"},
    precision=Torch,
    place=partial(tool_error.parse, packages=("torch",)),
)
