"""Relax as an engine."""

from bitsweep import tvm_error
from bitsweep.engines.declared import Engine
from bitsweep.engines.relax.settings import Relax

ENGINE = Engine(
    traced="exported",
    requirements={"environment": "requirements/relax.txt"},
    precision=Relax,
    place=tvm_error.parse,
    uses_llvm=True,
    tuners=("tiles",),
)
