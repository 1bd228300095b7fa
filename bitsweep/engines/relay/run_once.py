"""Export, second half: the shared library loads in a fresh process and runs."""

import numpy as np

from bitsweep.engines.refusal import Refused
from bitsweep.engines.relay.executor import Executor


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Load `module` and run it on the first image of `reference`; `Refused` for a wrong shape."""
    reference = np.load(inputs["reference"])
    answer = Executor(inputs["module"]).run(reference["input"][0])
    expected = reference["output"][0].shape
    if answer.shape != expected:
        raise Refused(
            "graph_executor.GraphModule.run",
            "exception",
            "Mismatch",
            f"the module answers with shape {answer.shape}, PyTorch with {expected}",
        )
