"""Engine: which TVM is this, and does it have Relax?"""

import json
from importlib.metadata import version
from pathlib import Path

from bitsweep.engines.refusal import Refused, asking

_CRASHING = "0.1.15"  # this tvm-ffi crashes when a module is serialised


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Write the versions of TVM, tvm-ffi, LLVM and numpy to `versions`.

    `settings["python_path"]` is where an own TVM must lie, or None for the environment's. `Refused`
    without a TVM, without Relax, and with a tvm-ffi that does not work.
    """
    with asking("import tvm"):
        import tvm
        import tvm_ffi
    found_at = Path(tvm.__file__).parent
    own = settings["python_path"]
    if own is not None and not found_at.is_relative_to(Path(own).resolve()):
        raise _refused("there is no package tvm in that directory")
    try:
        import tvm.relax
        import tvm.tirx
    except ImportError:
        raise _refused(
            f"TVM {tvm.__version__} at {found_at} is too old; 0.27 is the first that serves"
        ) from None  # what is raised here is not TVM's
    if tvm_ffi.__version__.startswith(_CRASHING):
        raise _refused(
            f"apache-tvm-ffi {tvm_ffi.__version__} crashes when a module is serialised; install "
            "another, as requirements/relax.txt has it"
        )
    found = {
        "tvm": tvm.__version__,
        "tvm_ffi": tvm_ffi.__version__,
        "llvm": str(tvm.target.codegen.llvm_version_major()),
        "numpy": version("numpy"),
    }
    Path(outputs["versions"]).write_text(json.dumps(found))


def _refused(text: str) -> Refused:
    return Refused("import tvm", "exception", "ImportError", text)
