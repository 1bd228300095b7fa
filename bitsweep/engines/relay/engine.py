"""Relay as an engine."""

from bitsweep import tvm_error
from bitsweep.engines.declared import Engine
from bitsweep.engines.relay.settings import Relay

ENGINE = Engine(
    traced="torchscript",
    requirements={
        "wheel": "requirements/relay-wheel.txt",
        "packages": "requirements/relay-dependencies.txt",
    },
    precision=Relay,
    place=tvm_error.parse,
    uses_llvm=True,
    tuners=("autotvm", "auto_scheduler"),
)
