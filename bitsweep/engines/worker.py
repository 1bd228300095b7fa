"""The process in which an engine's task runs: `python -m bitsweep.engines.worker REQUEST REPLY`.

REQUEST is a JSON file with `engine`, `task`, `inputs`, `outputs`, `settings`. REPLY is written
when the task ends as it should, `{"refused": null}`, or when TVM refused, with the traceback.
Without a REPLY the process crashed or has a bug, which its exit status tells apart.
"""

import ctypes
import faulthandler
import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

from bitsweep.engines.refusal import Refused

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, so that none is left behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(request_path: str, reply_path: str) -> None:
    """Run the task that the request names, and write the reply."""
    die_with_parent()
    os.register_at_fork(after_in_child=die_with_parent)
    faulthandler.enable()
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    refused = None
    try:
        task = importlib.import_module(f"bitsweep.engines.{request['engine']}.{request['task']}")
        task.run(request["inputs"], request["outputs"], request["settings"])
    except Refused as refusal:
        text = traceback.format_exc()
        print(text, flush=True)
        refused = {
            "kind": refusal.kind,
            "type": refusal.type_name,
            "function": refusal.function,
            "message": refusal.text,
            "traceback": text,
        }
    Path(reply_path).write_text(json.dumps({"refused": refused}), encoding="utf-8")
    # Not by way of interpreter shutdown, where a TVM may crash after its work is done.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
