"""Export, second half: the module loads in a fresh process and runs."""

from bitsweep.engines import running
from bitsweep.engines.torch.executor import Executor


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Load `module` and run it on the first image of `reference`; `Refused` for a wrong shape."""
    running.run_once(Executor, inputs, "torch.nn.Module.__call__")
