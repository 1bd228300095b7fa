"""Tell what a tool raises, and what our quantizer refuses, from what is wrong with us."""

import os
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bitsweep
from bitsweep.relax.errors import NotQuantizable

_PACKAGE = Path(bitsweep.__file__).parent
# The packages of the engines' tools, and how the frames of C++ in tvm-ffi's tracebacks are named.
_TOOLS = {"tvm", "tvm_ffi", "onnxruntime", "onnx", "onnxscript", "openvino", "nncf", "torch"}
_CPP = (".cc", ".h", ".cpp", ".pyx", ".pxi")

UNDER_WAY = "BITSWEEP_UNDER_WAY"  # the file that names the function under way

seconds_in_tvm: Counter[str] = Counter()
"""Wall-clock seconds that this process has spent in each of TVM's functions."""


class Refused(Exception):
    """A tool or our quantizer would not do what it was asked: an outcome, not an error of ours."""

    def __init__(self, function: str, kind: str, type_name: str, text: str):
        super().__init__(text)
        self.function, self.kind, self.type_name, self.text = function, kind, type_name, text


def _raised_by_us(error: Exception) -> bool:
    """Return whether, of the frames that are a tool's or this package's, the innermost is ours.

    A block's own frame is: so it counts only from the first frame below it.
    """
    frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)][2:]
    known = [_is_ours(path) for path in frames if _is_ours(path) or _is_a_tools(path)]
    return bool(known) and known[-1]


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(_PACKAGE)


def _is_a_tools(path: Path) -> bool:
    return bool(_TOOLS & set(path.parts)) or path.suffix in _CPP


@contextmanager
def asking(function: str) -> Iterator[None]:
    """Turn an exception raised inside the block, a call of a tool's `function`, into `Refused`.

    Errors of the operating system (a full disk, a missing compiler) pass through: they say nothing
    about the experiment. So does what our own code raised, which a tool may call or which calls it,
    but for what our quantizer refuses. Inside the block, the function's name is in a file, which
    survives a crash.
    """
    _note(function)
    start = time.monotonic()
    try:
        yield
    except OSError:
        raise
    except NotQuantizable as error:
        raise Refused(function, "refused", type(error).__name__, str(error)) from error
    except MemoryError as error:
        raise Refused(function, "memory", "MemoryError", str(error) or "out of memory") from error
    except Exception as error:
        if _raised_by_us(error):
            raise
        raise Refused(function, "exception", type(error).__name__, str(error)) from error
    finally:
        seconds_in_tvm[function] += time.monotonic() - start
        _note("")


def _note(function: str) -> None:
    if path := os.environ.get(UNDER_WAY):
        Path(path).write_text(function, encoding="utf-8")
