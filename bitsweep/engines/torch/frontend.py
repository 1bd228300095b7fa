"""Import: the traced network as it is, shown to compute what PyTorch computes."""

import numpy as np
import torch

from bitsweep.engines import agreement
from bitsweep.engines.refusal import asking
from bitsweep.engines.torch import ir
from bitsweep.engines.torch.executor import Executor


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Load `torchscript`, check it on `reference`, optimised as it will run; write `ir`, `params`
    and `text`.

    `Refused` where the output differs from PyTorch's by more than `agreement.TOLERANCE`.
    """
    reference = np.load(inputs["reference"])
    images, expected = (reference[name][: agreement.IMAGES] for name in ("input", "output"))
    with asking("torch.jit.load"):
        traced = torch.jit.load(inputs["torchscript"], map_location="cpu").eval()
    executor = Executor(traced)
    answers = np.stack([executor.run(image) for image in images])
    agreement.require(answers, expected, "torch.jit.optimize_for_inference")
    ir.save(traced, {"input_shape": images[:1].shape}, outputs)
