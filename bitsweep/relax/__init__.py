"""Post-training quantization for Relax, which has quantized operators and no pass to use them.

    from bitsweep.relax import PRESETS, build, quantize
    quantized = quantize(module, PRESETS["w4a8"], images)
    executable = build(quantized)

Only this package and `bitsweep.engines` import TVM, and this one not before it is used: its
settings are read where no TVM is.
"""

import importlib

from bitsweep.relax.config import PRESETS, QConfig
from bitsweep.relax.errors import NotQuantizable

_HOMES = {
    "canonicalise": "bitsweep.relax.transform.canonicalise",
    "observe": "bitsweep.relax.statistics",
    "quantize": "bitsweep.relax.quantizer",
    "in_bfloat16": "bitsweep.relax.quantizer",
    "build": "bitsweep.relax.compiler",
    "coverage": "bitsweep.relax.accounting",
    "sensitivity": "bitsweep.relax.layerwise",
    "layer_costs": "bitsweep.relax.costs",
}

__all__ = ["PRESETS", "NotQuantizable", "QConfig", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
