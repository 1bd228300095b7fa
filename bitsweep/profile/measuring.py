"""Measure the machine's peaks, once, as an artifact of the machine."""

import importlib.util
import json
from pathlib import Path

from bitsweep import machine
from bitsweep.artifact import replacing
from bitsweep.child import Limits
from bitsweep.engines import task

_ENGINE = task.Engine("relax", (), {})  # whose TVM is the environment's
_LIMITS = Limits(seconds=120, memory_bytes=4 * 2**30)


def run(name: str, threads: int, path: Path | str, log: Path | str) -> None:
    """Run the task `name`, which leaves `peaks`, for one and for so many threads; write `path`.

    What TVM refuses, or where the environment has none, leaves a JSON that says so and has no
    figure: no experiment fails for it.
    """
    with replacing(path) as measured:
        if importlib.util.find_spec("tvm") is None:
            failure = "this environment has no TVM"
        else:
            ended = task.run(
                _ENGINE,
                name,
                inputs={},
                outputs={"peaks": str(measured)},
                settings={"threads": machine.usable(threads)},
                limits=_LIMITS,
                threads=1,
                log=log,
            )
            failure = ended.failure and ended.failure.message
        if failure:
            measured.write_text(json.dumps({"error": failure}, indent=2) + "\n", encoding="utf-8")
