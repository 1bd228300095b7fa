"""Whether there is room to write: what failed for want of it says nothing about an experiment."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_TRIED_BYTES = 2**20


def try_writing(directory: Path | str) -> None:
    """Write a mebibyte to a nameless file in `directory`; raise the `OSError` that prevents it."""
    with tempfile.TemporaryFile(dir=directory) as file:
        # What some file systems compress away would not show that there is room.
        file.write(os.urandom(_TRIED_BYTES))
        file.flush()
        os.fsync(file.fileno())


def shortage(directories: Iterable[Path | str], told: str = "") -> str | None:
    """Return a sentence on a file system of these directories, or of temporary files, that is full.

    None where there is room, unless what failed `told` of none: a linker, say, has then removed
    the file that did not fit, and the file system with the least room is the one meant.
    """
    directories = [_existing(Path(directory)) for directory in (*directories, _temporary())]
    for directory in directories:
        try:
            try_writing(directory)
        except OSError as error:
            if error.errno in _NO_ROOM:
                return _sentence(error.errno, directory)
    for number in _NO_ROOM:
        if os.strerror(number) in told:
            return _sentence(number, min(directories, key=lambda d: shutil.disk_usage(d).free))
    return None


def _existing(directory: Path) -> Path:
    """Return the directory, or where there is none the nearest above it, as an absolute path."""
    directory = directory.resolve()
    while not directory.is_dir():
        directory = directory.parent
    return directory


def _temporary() -> str:
    # Unlike `tempfile.gettempdir`, also where it is full.
    return os.environ.get("TMPDIR") or "/tmp"


def _sentence(number: int, directory: Path) -> str:
    mount_point = directory
    while not mount_point.is_mount():
        mount_point = mount_point.parent
    return f"{os.strerror(number)}: {mount_point} is full; make room and run again"
