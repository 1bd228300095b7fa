"""Where in a tool's source an error arose."""

from dataclasses import dataclass

_LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class Place:
    """What failed: exception type, its message in one line, and the place in the tool, where known.

    `function` is short (`CodeGenLLVM::BufferAccessHelper`), `file` relative to the source tree
    (`src/target/llvm/codegen_llvm.cc`) or package (`tvm/relay/quantize/_calibrate.py`).
    """

    type: str
    message: str
    function: str | None = None
    file: str | None = None
    line: int | None = None


def one_line(text: str) -> str:
    """Return printable text without line breaks, not too long, less TVM's trailing ` :`."""
    line = " ".join(text[: 4 * _LONGEST_MESSAGE].split()).removesuffix(" :")
    line = "".join(character if character.isprintable() else "�" for character in line)
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"
