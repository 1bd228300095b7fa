"""Fingerprints of files that lie in folders: their names, sizes and times, without reading them."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path


@cache
def of_folder(folder: Path) -> str:
    """Return the fingerprint of all files in a folder and in those below it."""
    return _digest(_below(folder, lambda name: True), folder)


@cache
def of_tvm(python_path: Path) -> str:
    """Return the fingerprint of the TVM in a folder: its Python and its shared libraries.

    The libraries are looked for where TVM itself does: in its package, and in the build and library
    folders of the source tree that the package may be part of.
    """
    package = (python_path / "tvm").resolve()
    tree = package.parents[1]
    folders = [tree / "build", tree / "build" / "lib", tree / "build" / "Release", tree / "lib"]
    folders += map(Path, filter(None, [os.environ.get("TVM_LIBRARY_PATH")]))
    files = [library for folder in folders for library in folder.glob("libtvm*.so*")]
    for part in (package, python_path.resolve() / "tvm_ffi"):
        files += _below(part, lambda name: name.endswith(".py") or ".so" in name)
    return _digest(files, tree)


def _below(folder: Path, wanted: Callable[[str], bool]) -> Iterator[Path]:
    for parent, _, names in os.walk(folder, followlinks=True):
        yield from (Path(parent, name) for name in names if wanted(name))


def _digest(files: Iterable[Path], folder: Path) -> str:
    lines = sorted(
        f"{str(file).removeprefix(str(folder))} {told.st_size} {told.st_mtime_ns}"
        for file in files
        if (told := _stat(file))
    )
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:  # a link to nothing
        return None
