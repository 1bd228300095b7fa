"""Tell what TVM raises from what is wrong with us."""

import errno
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNDER_WAY = "BITSWEEP_UNDER_WAY"  # the file that names the TVM function under way

seconds_in_tvm: Counter[str] = Counter()
"""Wall-clock seconds that this process has spent in each of TVM's functions."""


class Refused(Exception):
    """TVM would not do what it was asked: an outcome of the experiment, not an error of ours."""

    def __init__(self, function: str, kind: str, type_name: str, text: str):
        super().__init__(text)
        self.function, self.kind, self.type_name, self.text = function, kind, type_name, text


@contextmanager
def asking_tvm(function: str) -> Iterator[None]:
    """Turn an exception raised inside the block, a call of TVM's `function`, into `Refused`.

    Errors of the operating system (a full disk, a missing compiler) pass through: they say nothing
    about the experiment. The function's name is noted in a file, which survives a crash.
    """
    if path := os.environ.get(UNDER_WAY):
        Path(path).write_text(function, encoding="utf-8")
    start = time.monotonic()
    try:
        yield
    except OSError:
        raise
    except MemoryError as error:
        raise Refused(function, "memory", "MemoryError", str(error) or "out of memory") from error
    except Exception as error:
        # The linker reports a full disk through TVM as text.
        if os.strerror(errno.ENOSPC) in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise Refused(function, "exception", type(error).__name__, str(error)) from error
    finally:
        seconds_in_tvm[function] += time.monotonic() - start
