"""Import: TorchScript to Relay, folded, and shown to compute what PyTorch computes."""

import numpy as np
import torch
import tvm
from tvm import relay
from tvm.contrib import graph_executor
from tvm.relay.quantize.quantize import prerequisite_optimize

from bitsweep.engines import agreement
from bitsweep.engines.refusal import asking
from bitsweep.engines.relay import INPUT, convolutions, ir, target
from bitsweep.engines.relay.lowering import remember_repeated_work


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Import `torchscript`, check it on `reference`, write `ir`, `params` and `text`.

    What is written has the float passes behind it that `relay.quantize` starts with (batch norm
    folded into convolutions, constants folded), so that they run once, not for each precision.
    `Refused` where the output differs from PyTorch's by more than `agreement.TOLERANCE`.
    """
    remember_repeated_work()
    reference = np.load(inputs["reference"])
    images, expected = (reference[name][: agreement.IMAGES] for name in ("input", "output"))
    scripted = torch.jit.load(inputs["torchscript"], map_location="cpu").eval()
    with asking("relay.frontend.from_pytorch"):
        imported, params = relay.frontend.from_pytorch(scripted, [(INPUT, (1, *images.shape[1:]))])
    native = target.resolve(target.NATIVE)
    with (
        asking("relay.quantize.prerequisite_optimize"),
        native,
        tvm.transform.PassContext(opt_level=3),
    ):
        module = prerequisite_optimize(imported, params)
    answers = _answers(module, native, images)
    agreement.require(answers, expected, "relay.frontend.from_pytorch")
    paths = {path: tensor.numpy() for path, tensor in scripted.state_dict().items()}
    ir.save(convolutions.named(imported, params, paths, module), outputs)


def _answers(module, for_target, images) -> np.ndarray:
    # Level 1 builds fastest: level 0 compiles more kernels, for want of fusion, 2 and 3 optimise.
    with asking("relay.build"), tvm.transform.PassContext(opt_level=1):
        library = relay.build(module, target=for_target)
    with asking("graph_executor.GraphModule.run"):
        executor = graph_executor.GraphModule(library["default"](tvm.cpu()))
        answers = []
        for image in images:
            executor.set_input(INPUT, image[None])
            executor.run()
            answers.append(executor.get_output(0).numpy()[0])
    return np.stack(answers)
