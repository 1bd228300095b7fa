"""The operators of a network, as PyTorch dispatches them in a run."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bitsweep.engines.refusal import asking

_UNOPTIMISED_RUNS = 2  # the first are recorded, not fused, and the second compare constants
_DTYPES = {"quint8": "uint8", "qint8": "int8", "quint4x2": "uint4", "qint32": "int32"}
_CONVERTING = ("aten::quantize_per_tensor", "aten::dequantize")


@dataclass(frozen=True)
class Operator:
    """A call: its `type`, the `dtype` of its first tensor, multiplications with accumulation."""

    type: str
    dtype: str
    macs: int

    @property
    def is_quantized(self) -> bool:
        return self.type.startswith("quantized::")


class _Recorder(TorchDispatchMode):
    """Note each operator that is called, in the order of running."""

    def __init__(self):
        super().__init__()
        self.operators: list[Operator] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        if tensors:
            name = str(tensors[0].dtype).removeprefix("torch.")
            self.operators.append(
                Operator(
                    function._schema.name, _DTYPES.get(name, name), _macs(function, args, result)
                )
            )
        return result


def _macs(function: Any, args: Sequence, result: Any) -> int:
    if function._schema.name.startswith(("quantized::conv", "quantized::linear")):
        weight, _ = args[1].unpack()
        return result.numel() * math.prod(weight.shape[1:])
    flops = flop_registry.get(function._overloadpacket)
    return flops(*args, out_val=result) // 2 if flops else 0


def recorded(module: Callable[[torch.Tensor], Any], shape: Sequence[int]) -> list[Operator]:
    """Return the operators of a run on an image of zeros, float32 of `shape` (N, C, H, W)."""
    image, recorder = torch.zeros(shape), _Recorder()
    with asking("torch.nn.Module.__call__"), torch.no_grad():
        for _ in range(_UNOPTIMISED_RUNS):
            module(image)
        with recorder:
            module(image)
    return recorder.operators


def coverage(operators: Sequence[Operator]) -> dict:
    """Count multiplications with accumulation of one image, and of those the ones of integers.

    Returns `macs`, `integer_macs`, and `float_operators`: how many calls, by name, are of floats.
    """
    floats = Counter(
        one.type for one in operators if "float" in one.dtype and one.type not in _CONVERTING
    )
    return {
        "macs": sum(one.macs for one in operators),
        "integer_macs": sum(one.macs for one in operators if one.is_quantized),
        "float_operators": dict(sorted(floats.items())),
    }
