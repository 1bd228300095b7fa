"""Where in TVM an error arose, read from the error's text.

Three layouts are understood: TVM up to 0.19 (a C++ stack `  0: tvm::f(...)` and a `File` line
within the message), today's tvm-ffi (C++ frames listed like Python's), and Python tracebacks. All
list the outermost frame first, so the last place named within TVM is the innermost.
"""

import posixpath
import re
from collections import deque
from collections.abc import Iterable

from bitsweep.place import Place, one_line

_LONGEST_FRAME = 4000
_KEPT_LINES = 200

_FRAME = re.compile(r"\s+\d{1,6}: (\S.*)")
_FILE = re.compile(r'\s+File "([^"]*)", line (\d{1,9})(?:, in (.*))?$')
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*)(?::(?: (.*))?)?$")
_EXCEPTION_NAME = ("Error", "Exception", "Interrupt", "Exit", "StopIteration")
_SOURCE_SUFFIXES = (".cc", ".h", ".c", ".cpp", ".hpp", ".cu", ".cuh", ".mm")
_HEADER = "Traceback (most recent call last)"
_CHAINS = ("During handling of the above exception", "The above exception was the direct cause")

_RELATION = re.compile(r"\b([A-Z][A-Za-z0-9]*Rel)\b")
_RENDERED = "one or more error diagnostics were emitted"
_CHECKER = "The Relay type checker is unable"
_DIAGNOSTIC_NOISE = re.compile(
    r"\s|\[|note:|\d*\s*\||The Relay type checker is unable|The type inference pass was unable"
    r"|This usually occurs when|.*:$|$"
)
# A rendered diagnostic carries no place; these are the files of TVM 0.16 that raise them.
_RAISED_IN = {
    "BroadcastRel": "src/relay/op/type_relations.cc",
    "BroadcastCompRel": "src/relay/op/type_relations.cc",
    "InferType": "src/relay/transforms/type_infer.cc",
}

# Frames that carry every call or report any error, and so tell nothing about this one.
_PLUMBING = re.compile(
    r"(PackedFuncObj|PackedFuncSubObj|TypedPackedFunc|FunctionObj|FunctionObjImpl|LogFatal"
    r"|DiagnosticContext|TVMFuncCall|TVMFFIFunctionCall)(::|$)|std::"
)

_MANGLED_LENGTH = re.compile(r"\d{1,3}(?=[A-Za-z_])")


def parse(text: str, type_name: str | None = None) -> Place:
    """Return the type, message and innermost place in TVM of an error.

    `text` is what `traceback.format_exc()` or `str(exception)` gave. TVM writes a type checker's
    diagnostics to stderr, not into the exception, so put the stderr that came before in front of
    it to have them: the line that names a type relation becomes the message, that relation the
    function. A relation on the C++ stack is preferred too, `file` and `line` staying those of the
    check that failed. `type_name` overrides the type read from the text.

    Never raises; takes time linear in the length of `text`.
    """
    reader = _Reader()
    for line in text.split("\n"):
        reader.read(line.rstrip("\r"))
    return reader.place(type_name)


class _Reader:
    """A single pass over the lines of an error's text."""

    def __init__(self) -> None:
        self.log: deque[str] = deque(maxlen=_KEPT_LINES)
        self.stack: deque[str] = deque(maxlen=_KEPT_LINES)
        self.type: str | None = None
        self.message: list[str] = []
        self.source_line = ""
        self.where: tuple[str | None, str | None, int | None] = (None, None, None)
        self.in_log = True
        self.in_message = False

    def read(self, line: str) -> None:
        exception = _exception(line)
        if line.startswith((_HEADER, *_CHAINS)):
            self.in_log = self.in_message = False
        elif exception is not None and exception[1].startswith(_HEADER):
            self.type, self.message = exception[0], []
            self.in_log = self.in_message = False
        elif exception is not None:
            self.type, self.message = exception[0], [exception[1]]
            self.in_message = True
        elif self.in_message:
            if len(self.message) < _KEPT_LINES:
                self.message.append(line)
        else:
            self._read_frame(line)
        if self.in_log:
            self.log.append(line)

    def _read_frame(self, line: str) -> None:
        if match := _FILE.match(line):
            path, number, function = match[1], int(match[2]), match[3]
            if function is None:
                self._close_stack(path, number)
            elif path.endswith(".py"):
                if file := _python_file(path):
                    self.where = (function, file, number)
            elif path.endswith(_SOURCE_SUFFIXES) and (name := short_name(function)):
                self.where = (name, _source_file(path), number)
        elif match := _FRAME.match(line):
            self.stack.append(match[1][:_LONGEST_FRAME])
        elif line.strip(" ^~"):
            self.source_line = line

    def _close_stack(self, path: str, number: int) -> None:
        """Take the place of the C++ stack that the line `File "path", line number` ends."""
        frames = list(reversed(self.stack))
        names = [name for frame in frames if (name := short_name(frame))]
        relation = next((name for name in names if _RELATION.fullmatch(name)), None)
        function = relation or next(iter(names), None)
        if frames and "DiagnosticContext" in frames[0]:
            self.where = (function, _RAISED_IN.get(function or ""), None)
        else:
            self.where = (function, _source_file(path), number)
        self.stack.clear()

    def place(self, type_name: str | None) -> Place:
        message = " ".join(self.message)
        function, file, line = self.where
        if self.type is None:
            message = " ".join(self.log)
        if message.startswith(_RENDERED) or (self.type is None and _CHECKER in message):
            message = _telling_line(self.log) or message
            if relation := _RELATION.search(message):
                function, file, line = relation[1], _RAISED_IN.get(relation[1]), None
        if not message.strip():
            message = self.source_line
        return Place(
            type=_last_part(type_name or self.type or "unknown"),
            message=one_line(message),
            function=function and one_line(function),
            file=file and one_line(file),
            line=line,
        )


def short_name(signature: str) -> str | None:
    """Return a C++ frame's function as a reader wants it, or None where the frame is plumbing.

    `bool tvm::relay::Conv2DRel<A>(B const&)` becomes `Conv2DRel`; a lambda is named after the
    function that holds it; a mangled name, which TVM may have cut off, gives its leading names.
    """
    signature = signature[:_LONGEST_FRAME]
    if signature.startswith("_Z"):
        name = _mangled_name(signature)
    else:
        name = _qualified_name(signature)
        if _PLUMBING.match(name):
            name = _lambda_holder(signature)
    is_name = re.match(r"[A-Za-z_~]", name) and not _PLUMBING.match(name)
    return name if is_name else None


def _qualified_name(signature: str) -> str:
    """Strip template arguments, parameters, return type and namespaces from a C++ signature."""
    kept, depth = [], 0
    for character in signature.replace("(anonymous namespace)::", "").replace("->", "  "):
        if character == "<":
            depth += 1
        elif character == ">":
            depth = max(0, depth - 1)
        elif depth == 0:
            kept.append(character)
    plain = "".join(kept)
    end = plain.find("(")
    if plain[: max(end, 0)].endswith("operator"):
        end += len("()")
    words = (plain if end < 0 else plain[:end]).split()
    return _without_namespaces(words[-1].lstrip("*&").split("::")) if words else ""


def _lambda_holder(signature: str) -> str:
    """Return the function in which the first lambda of a C++ signature was written."""
    before, found, _ = signature.partition("::{lambda(")
    if not found:
        return ""
    before = before.removesuffix(" const")
    depth, start = 0, len(before)
    for start in range(len(before) - 1, -1, -1):
        depth += (before[start] == ")") - (before[start] == "(")
        if depth == 0:
            break
    end = start
    while start > 0 and (before[start - 1].isalnum() or before[start - 1] in "_:~"):
        start -= 1
    return _without_namespaces(before[start:end].split("::"))


def _mangled_name(symbol: str) -> str:
    """Return the leading names of a symbol mangled by the Itanium ABI (`_ZN3tvm5relay...`)."""
    prefix = re.match(r"_Z+N[rVK]*(St)?", symbol)
    if prefix is None:
        return ""
    names, position = ["std"] if prefix[1] else [], prefix.end()
    while length := _MANGLED_LENGTH.match(symbol, position):
        position = length.end() + int(length[0])
        names.append(symbol[length.end() : position])
    return _without_namespaces(names)


def _without_namespaces(names: list[str]) -> str:
    """Join names, less the leading ones in lower case, which in TVM and LLVM are namespaces."""
    names = [name for name in names if name]
    while len(names) > 1 and names[0] != "std" and names[0] == names[0].lower():
        names = names[1:]
    return "::".join(names)


def _exception(line: str) -> tuple[str, str] | None:
    """Split `tvm.error.InternalError: message` into name and message; None for other lines."""
    match = _EXCEPTION.match(line)
    if match is None or not match[1].endswith(_EXCEPTION_NAME):
        return None
    return _last_part(match[1]), match[2] or ""


def _telling_line(lines: Iterable[str]) -> str | None:
    """Return the diagnostic that names a type relation, else the last that is not boilerplate."""
    told = [line.removeprefix("error: ") for line in lines]
    told = [line for line in told if not _DIAGNOSTIC_NOISE.match(line)]
    return next((line for line in told if _RELATION.search(line)), told[-1] if told else None)


def _source_file(path: str) -> str:
    """Strip the build machine's prefix from the path of a C++ file of TVM's."""
    path = posixpath.normpath(path)
    start = max(path.rfind("/src/"), path.rfind("/include/"))
    return path[start + 1 :]


def _python_file(path: str) -> str | None:
    """Return a Python file's path from the `tvm` package on; None outside it and for its FFI."""
    _, found, module = path.replace("\\", "/").rpartition("/tvm/")
    return None if not found or module.startswith("_ffi/") else f"tvm/{module}"


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]
