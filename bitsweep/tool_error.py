"""Where in a tool an error arose whose text is a Python traceback, with C++ places in its message.

That is how ONNX Runtime, OpenVINO, NNCF and PyTorch tell.
"""

import re
from collections.abc import Iterable

from bitsweep.place import Place, one_line
from bitsweep.tvm_error import short_name

_HEADER = "Traceback (most recent call last):"
_CAUSED = "\nThe above exception was the direct cause of the following exception"
_FRAME = re.compile(r'^ +File "([^"]*)", line (\d{1,9}), in (\S+)', re.MULTILINE)
_ERROR = re.compile(r"^[A-Za-z_][\w.]*(?:: |$)", re.MULTILINE)
# `/onnxruntime_src/onnxruntime/core/a.cc:12 onnxruntime::f(int)`, `src/core/src/a.cpp:12:`
_CPP = re.compile(r"([\w./-]+\.(?:cc|cpp|hpp|h)):(\d{1,9})(?: ([\w:~]+ ?[\w:~]*\([^\n]*))?")
_SITE = re.compile(r"/(?:site|site-packages)/")
_OURS = "/bitsweep/engines/"  # where a package may be called as the tool is
_GENERATED = "code/__torch__/"  # TorchScript of a network, not PyTorch's own
_BUILD = re.compile(r".*?_src/")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def parse(text: str, type_name: str, packages: Iterable[str]) -> Place:
    """Return the first cause's message, and the innermost place in one of the Python `packages`.

    `text` ends with the tracebacks of the exception and its causes, first cause first, and of our
    own, which it caused. A place in C++ that the message names is further in; of several the last
    is.
    """
    told = [part.rpartition(_HEADER)[2] for part in text.split(_CAUSED)]
    causes = [part for part in told[:-1] if _innermost(part, packages)] or told[-2:-1] or told
    found = _innermost(causes[0], packages)
    function, file, line = found or (None, None, None)
    message = _message(causes[0])
    for place in _CPP.finditer(message):
        function = place[3] and short_name(place[3])
        file, line = _BUILD.sub("", place[1]), int(place[2])
    return Place(type_name, one_line(message), function, file, line)


def _innermost(traceback: str, packages: Iterable[str]) -> tuple[str, str, int] | None:
    frames = _FRAME.findall(traceback)
    known = ((function, _in_package(path, packages), int(line)) for path, line, function in frames)
    return next((place for place in reversed([*known]) if place[1]), None)


def _in_package(path: str, packages: Iterable[str]) -> str | None:
    if _OURS in path or path.startswith(_GENERATED):
        return None
    parts = _SITE.split(path)[-1].split("/")
    first = next((index for index, part in enumerate(parts) if part in packages), None)
    return None if first is None else "/".join(parts[first:])


def _message(traceback: str) -> str:
    frames = [*_FRAME.finditer(traceback)]
    if not frames:
        return ""
    error = _ERROR.search(traceback, frames[-1].end())
    return _COLOUR.sub("", traceback[error.end() :]) if error else ""
