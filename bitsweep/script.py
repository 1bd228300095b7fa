"""The frame of every workflow script: output goes to the log, an error becomes one sentence."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitsweep.errors import UserError


@contextmanager
def script(snakemake) -> Iterator[None]:
    """Send the block's output, that of its libraries and children too, to the rule's log.

    A `UserError` ends the script with its sentence on the terminal and in the log; any other
    exception with its traceback in the log and one line on the terminal.
    """
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    except UserError as error:
        _tell(terminal, f"{snakemake.rule}: {error}")
        raise SystemExit(1) from None
    except Exception as error:
        traceback.print_exc()
        _tell(terminal, f"{snakemake.rule}: {type(error).__name__}: {error} (see {log})")
        raise SystemExit(1) from None


def _tell(terminal: int, sentence: str) -> None:
    print(f"Error: {sentence}", file=sys.stderr, flush=True)
    os.write(terminal, f"Error: {sentence}\n".encode())
