"""The frame of every workflow script: output goes to the log, an error becomes one sentence."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bitsweep.errors import UserError, in_a_line
from bitsweep.storage import shortage


@contextmanager
def script(snakemake) -> Iterator[Callable[[str], None]]:
    """Send the block's output, that of its libraries and children too, to the rule's log.

    A `UserError` ends the script with its sentence on the terminal and in the log, there after the
    traceback of what caused it; any other exception with one line on the terminal, which names a
    file system that is full, and with its traceback in the log. Yields what tells both a line.
    """
    log = Path(snakemake.log[0])
    terminal = os.dup(2)
    try:
        _send_output_to(log)
        yield lambda line: _tell(terminal, line)
        sys.stdout.flush()
    except UserError as error:
        details = traceback.format_exc() if error.__cause__ else ""
        _tell(terminal, f"Error: {snakemake.rule}: {error}", details)
        raise SystemExit(1) from None
    except Exception as error:
        places = [log.parent, *(Path(path).parent for path in snakemake.output)]
        full = shortage(places, told=str(error))
        sentence = full or f"{in_a_line(error)} (see {log})"
        _tell(terminal, f"Error: {snakemake.rule}: {sentence}", traceback.format_exc())
        raise SystemExit(1) from None


def _send_output_to(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    log.write_bytes(b"")
    with log.open("ab") as file:  # as others who open it do: none writes over what another wrote
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _tell(terminal: int, line: str, details: str = "") -> None:
    os.write(terminal, f"{line}\n".encode())
    if not os.path.sameopenfile(terminal, 2):
        # The log may be what cannot be written.
        with suppress(OSError):
            print(f"{details}{line}", file=sys.stderr, flush=True)
