"""Import: TorchScript to OpenVINO's graph, shown to compute what PyTorch computes."""

import numpy as np
import openvino
import torch

from bitsweep.engines import agreement
from bitsweep.engines.openvino import ir, naming
from bitsweep.engines.openvino.executor import Executor
from bitsweep.engines.refusal import asking


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Convert `torchscript`, check it on `reference`, write `ir`, `params` and `text`.

    `Refused` where the output differs from PyTorch's by more than `agreement.TOLERANCE`.
    """
    reference = np.load(inputs["reference"])
    images, expected = (reference[name][: agreement.IMAGES] for name in ("input", "output"))
    scripted = torch.jit.load(inputs["torchscript"], map_location="cpu").eval()
    example = torch.from_numpy(images[:1])
    with asking("openvino.convert_model"):
        model = openvino.convert_model(
            scripted, example_input=example, input=[tuple(example.shape)]
        )
    executor = Executor(model)
    answers = np.stack([executor.run(image) for image in images])
    agreement.require(answers, expected, "openvino.convert_model")
    naming.name_layers(model, {k: v.numpy() for k, v in scripted.state_dict().items()})
    ir.save(model, outputs)
