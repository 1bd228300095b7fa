"""Import: `torch.export` program to Relax, canonical, shown to compute what PyTorch computes."""

import numpy as np
import torch
from tvm.relax.frontend.torch import from_exported_program

from bitsweep import relax as quantizer
from bitsweep.engines import agreement
from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import ir, target
from bitsweep.engines.relax.executor import Executor
from bitsweep.relax.frontend import parameters


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Import `exported`, check it on `reference`, write `ir`, `params` and `text`.

    What is written is canonical (NHWC, batch norm folded into convolutions), as all that follows
    wants it, so that this runs once, not for each precision. `Refused` where the output differs
    from PyTorch's by more than `agreement.TOLERANCE`.
    """
    reference = np.load(inputs["reference"])
    images, expected = (reference[name][: agreement.IMAGES] for name in ("input", "output"))
    exported = torch.export.load(inputs["exported"])
    with asking("relax.frontend.torch.from_exported_program"):
        module = from_exported_program(
            exported, keep_params_as_input=True, unwrap_unit_return_tuple=True
        )
    with asking("bitsweep.relax.canonicalise"):
        module = quantizer.canonicalise(module, parameters(exported))
    with asking("bitsweep.relax.build"):
        library = quantizer.build(module, target.resolve(target.NATIVE))
    executor = Executor(library)
    answers = np.stack([executor.run(image) for image in images])
    agreement.require(answers, expected, "relax.frontend.torch.from_exported_program")
    ir.save(module, outputs)
