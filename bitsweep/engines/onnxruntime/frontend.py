"""Import: `torch.export` program to ONNX, prepared, shown to compute what PyTorch computes."""

import numpy as np
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process

from bitsweep.engines import agreement
from bitsweep.engines.onnxruntime import ir
from bitsweep.engines.onnxruntime.executor import Executor
from bitsweep.engines.refusal import asking


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Export `exported` to ONNX, check it on `reference`, write `ir`, `params` and `text`.

    What is written is prepared for quantization as ONNX Runtime wants it (batch norm folded into
    convolutions, constants folded, shapes inferred), so that this runs once, not for each
    precision. `Refused` where the output differs from PyTorch's by more than
    `agreement.TOLERANCE`.
    """
    reference = np.load(inputs["reference"])
    images, expected = (reference[name][: agreement.IMAGES] for name in ("input", "output"))
    exported = torch.export.load(inputs["exported"])
    with asking("torch.onnx.export"):
        program = torch.onnx.export(exported, dynamo=True, verbose=False)
    with asking("onnxruntime.quantization.quant_pre_process"):
        model = ir.made(_prepare, program)
    executor = Executor(model.SerializeToString(), optimised=False)
    answers = np.stack([executor.run(image) for image in images])
    agreement.require(answers, expected, "torch.onnx.export")
    ir.save(model, outputs)


def _prepare(program: torch.onnx.ONNXProgram, path: str) -> None:
    program.save(path)
    quant_pre_process(path, path, skip_symbolic_shape=True)  # which is for transformers
