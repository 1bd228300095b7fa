"""Quantize: `relay.quantize` with every field of its QConfig as the precision says, or fewer bits
of floats."""

import json
import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import tvm
from tvm import relay
from tvm.relay.build_module import bind_params_by_name

from bitsweep.engines.refusal import asking
from bitsweep.engines.relay import INPUT, convolutions, ir, target
from bitsweep.engines.relay.accounting import coverage
from bitsweep.engines.relay.lowering import remember_repeated_work
from bitsweep.engines.relay.percentile import Percentile
from bitsweep.engines.relay.tensors import annotated, names, tensors

# Fields that a precision holds as bits and storage of a kind of number.
_KINDS = ("input", "weight", "activation")


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Quantize the module at `ir` and `params`, calibrated by the `statistics` of its tensors.

    Where a precision is calibrated otherwise there are none, and the images of `calibration` serve;
    one of `floats` needs neither.
    `settings["precision"]` is None for the float baseline, whose module passes unchanged.
    `coverage`, JSON, tells how much of the result runs in integers.
    """
    remember_repeated_work()
    module, params = ir.load(inputs)
    if settings["precision"] is None:
        for name in ("ir", "params", "text"):
            shutil.copyfile(inputs[name], outputs[name])
    elif floats := settings["precision"]["floats"]:
        module = _in_floats(module, params, floats, settings)
        ir.save(module, outputs)
    else:
        if "statistics" in inputs:
            # `relay.quantize` has no other way in for scales that are known.
            calibration = import_module("tvm.relay.quantize._calibrate")
            calibration._percentile_scale = _percentile_scale(np.load(inputs["statistics"]))
        images = np.load(inputs["calibration"])["input"]
        module = _quantize(module, params, images, settings)
        ir.save(module, outputs)
    Path(outputs["coverage"]).write_text(json.dumps(coverage(module), indent=2) + "\n")


def _quantize(module, params, images, settings) -> tvm.IRModule:
    dataset = [{INPUT: image[None]} for image in images]
    fields = qconfig_fields(settings["precision"])
    # Constant folding and calibration build for the target in scope, else for the default one.
    with target.resolve(settings["target"]), tvm.transform.PassContext(opt_level=3):
        with asking("relay.quantize.qconfig"):
            fields["skip_conv_layers"] = convolutions.indices(module, fields["skip_conv_layers"])
            config = relay.quantize.qconfig(**fields)
        with asking("relay.quantize.quantize"), config:
            return relay.quantize.quantize(module, params, dataset=dataset)


def _in_floats(module, params, floats: str, settings) -> tvm.IRModule:
    """The module in these floats, as far as TVM's pass has operators; what comes out is float32."""
    options = {"relay.ToMixedPrecision.keep_orig_output_dtype": True}
    context = tvm.transform.PassContext(opt_level=3, config=options)
    with target.resolve(settings["target"]), context, asking("relay.transform"):
        main = bind_params_by_name(module["main"], params)
        # Weights are converted here, once, and not in each run.
        passes = [
            relay.transform.InferType(),
            relay.transform.SimplifyInference(),
            relay.transform.FoldConstant(),
            relay.transform.ToMixedPrecision(floats),
            relay.transform.FoldConstant(),
            relay.transform.InferType(),
        ]
        return tvm.transform.Sequential(passes)(tvm.IRModule.from_expr(main))


def _percentile_scale(statistics: Mapping[str, np.ndarray]) -> Callable:
    """Return what TVM's function of this name is to be, which collects these statistics itself."""

    def percentile_scale(module: tvm.IRModule, dataset) -> Callable:
        found = tensors(module["main"])
        if names(found) != statistics["tensor"].tolist():
            raise ValueError("the statistics are of another network")
        position = {expr: index for index, expr in enumerate(found)}

        def scale(call: relay.Call) -> np.float32:
            tensor = annotated(call)
            if isinstance(tensor, relay.Constant):
                return _of_constant(tensor.data.numpy(), int(statistics["images"]))
            return statistics["percentile"][position[tensor]]

        return scale

    return percentile_scale


def _of_constant(values: np.ndarray, images: int) -> np.float32:
    """The percentile of a constant, which TVM sees once an image."""
    percentile = Percentile(images * values.size)
    for _ in range(images):
        percentile.update(values)
    return percentile.value


def qconfig_fields(precision: dict) -> dict:
    """Return the arguments of `relay.quantize.qconfig` for a precision of the config."""
    fields = {
        name: value
        for name, value in precision.items()
        if name not in ("floats", "bits", "storage", *_KINDS)
    }
    for kind in _KINDS:
        fields[f"nbit_{kind}"] = precision[kind]["bits"]
        fields[f"dtype_{kind}"] = precision[kind]["storage"]
    return fields
