"""The process in which an engine's task runs: `python -m bitsweep.engines.worker REQUEST REPLY`.

REQUEST is a JSON file with `engine`, `task`, `inputs`, `outputs`, `settings`, and the process that
asks as `parent`. REPLY says how the task ended: `refused` tells what was refused, `broke` an error
of ours, both null where all went well; `seconds_in_tvm` tells how long TVM's functions took.
Without a REPLY the process was ended: by a signal, or by LLVM, which may call `exit`, or by itself,
with `os.EX_IOERR`, because it could not write REPLY or its output.
"""

import ctypes
import faulthandler
import gc
import importlib
import importlib.util
import json
import os
import signal
import sys
import traceback
from importlib.machinery import PathFinder
from pathlib import Path

from bitsweep.artifact import write_text
from bitsweep.engines.refusal import Refused, seconds_in_tvm
from bitsweep.errors import UserError

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PYTORCH = "torch"  # the engine, and the package
_IMPORT = "frontend"  # where every engine reads what PyTorch traced


class _WithoutPyTorch(PathFinder):
    """All but PyTorch: tools import it wherever it is, which takes longer than most tasks do."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == _PYTORCH else super().find_spec(name, path, target)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, so that none is left behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def die_with(parent: int) -> None:
    """Do so, for this process and all that it forks, and exit where `parent` is dead already."""
    die_with_parent()
    if os.getppid() != parent:
        raise SystemExit("the parent process is gone")
    os.register_at_fork(after_in_child=die_with_parent)


def main(request_path: str, reply_path: str) -> None:
    """Run the task that the request names, and write the reply."""
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    die_with(request["parent"])
    faulthandler.enable()
    if request["engine"] != _PYTORCH and request["task"] != _IMPORT:
        sys.meta_path[:] = [
            _WithoutPyTorch if finder is PathFinder else finder for finder in sys.meta_path
        ]
    refused = broke = None
    try:
        package = f"bitsweep.engines.{request['engine']}"
        if importlib.util.find_spec(f"{package}.process"):
            importlib.import_module(f"{package}.process").prepare(request["task"])
        gc.disable()  # imports make many objects, and no garbage
        task = importlib.import_module(f"{package}.{request['task']}")
        gc.enable()
        task.run(request["inputs"], request["outputs"], request["settings"])
    except Refused as refusal:
        traceback.print_exc()
        refused = {
            "kind": refusal.kind,
            "type": refusal.type_name,
            "function": refusal.function,
            "message": refusal.text,
            "raised_by_tvm": refusal.kind != "refused" and refusal.__cause__ is not None,
        }
    except UserError as error:
        broke = str(error)
    except Exception as error:
        traceback.print_exc()
        broke = f"{type(error).__name__}: {error}"
    reply = {"refused": refused, "broke": broke, "seconds_in_tvm": seconds_in_tvm}
    write_text(reply_path, json.dumps(reply))
    # Not by way of interpreter shutdown, where a TVM may crash after its work is done.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError:
        os._exit(os.EX_IOERR)
