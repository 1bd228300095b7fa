"""Engine: which TVM is this, and does it have Relay?"""

import json
from importlib.metadata import version
from pathlib import Path

from bitsweep.engines.refusal import Refused, asking


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Write the versions of TVM, LLVM and numpy to `versions`; `Refused` without Relay."""
    with asking("import tvm"):
        import tvm
    found_at = Path(tvm.__file__).parent
    if not found_at.is_relative_to(Path(settings["python_path"]).resolve()):
        raise Refused(
            "import tvm", "exception", "ImportError", "there is no package tvm in that directory"
        )
    try:
        import tvm.relay.quantize
    except ImportError:
        raise Refused(
            "import tvm.relay",
            "exception",
            "ImportError",
            f"TVM {tvm.__version__} at {found_at} has no Relay; 0.19 is the last",
        ) from None  # what is raised here is not TVM's
    found = {
        "tvm": tvm.__version__,
        "llvm": tvm.support.libinfo()["LLVM_VERSION"],
        "numpy": version("numpy"),
    }
    Path(outputs["versions"]).write_text(json.dumps(found))
