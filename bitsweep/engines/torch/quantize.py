"""Quantize: PyTorch's static quantization of TorchScript, by the settings of the precision."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from torch.ao.quantization import QConfig, observer
from torch.ao.quantization.quantize_jit import convert_jit, prepare_jit

from bitsweep.engines.refusal import asking
from bitsweep.engines.torch import ir, operators

_OBSERVERS = {"minmax": observer.MinMaxObserver, "histogram": observer.HistogramObserver}


class _OfFloats(torch.nn.Module):
    """A network of `floats`, between float32."""

    def __init__(self, network: torch.jit.ScriptModule, floats: torch.dtype):
        super().__init__()
        self.network, self.floats = network.to(floats), floats

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image.to(self.floats)).to(torch.float32)


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Quantize the module at `ir` on the images of `calibration`, or compute it in other floats.

    `settings["precision"]` is None for the float baseline, whose module passes unchanged.
    `coverage`, JSON, tells how much of the result runs in integers.
    """
    module, how = ir.load(inputs)
    precision = settings["precision"]
    if precision is None:
        for name in ("ir", "params", "text"):
            shutil.copyfile(inputs[name], outputs[name])
    else:
        if precision["floats"]:
            module = _of_floats(module, precision["floats"], how["input_shape"])
        else:
            images = np.load(inputs["calibration"])["input"]
            module = _quantized(module, torch.from_numpy(images), precision)
        chosen = {key: precision[key] for key in ("compiler", "floats")}
        ir.save(module, how | chosen, outputs)
    counted = operators.coverage(operators.recorded(module, how["input_shape"]))
    Path(outputs["coverage"]).write_text(json.dumps(counted, indent=2) + "\n")


def _of_floats(module, floats: str, shape: list[int]) -> torch.jit.ScriptModule:
    with asking("torch.nn.Module.to"):
        network = _OfFloats(module, getattr(torch, floats)).eval()
    with asking("torch.jit.trace"), torch.no_grad():
        return torch.jit.trace(network, torch.zeros(shape))


def _quantized(module, images: torch.Tensor, precision: dict) -> torch.jit.ScriptModule:
    weights = "PerChannelMinMaxObserver" if precision["per_channel"] else "MinMaxObserver"
    scheme = torch.per_channel_symmetric if precision["per_channel"] else torch.per_tensor_symmetric
    chosen = QConfig(
        activation=_OBSERVERS[precision["observer"]].with_args(
            dtype=getattr(torch, precision["activation_type"]),
            reduce_range=precision["reduce_range"],
        ),
        weight=getattr(observer, weights).with_args(
            dtype=getattr(torch, precision["weight_type"]), qscheme=scheme
        ),
    )
    with asking("torch.ao.quantization.quantize_jit.prepare_jit"):
        prepared = prepare_jit(module, {"": chosen})
    with asking("torch.nn.Module.__call__"), torch.no_grad():
        for image in images:
            prepared(image[None])
    with asking("torch.ao.quantization.quantize_jit.convert_jit"):
        return convert_jit(prepared)
