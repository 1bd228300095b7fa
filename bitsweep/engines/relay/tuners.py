"""What tunes in Relay, by the names that the config has."""

from contextlib import AbstractContextManager, nullcontext

from bitsweep.engines.relay import by_auto_scheduler, by_autotvm

TUNERS = {"autotvm": by_autotvm, "auto_scheduler": by_auto_scheduler}


def applied(tuner: str | None, log: str | None) -> tuple[AbstractContextManager, dict[str, bool]]:
    """Return the context to compile in with what a tuner's log has, and the passes' settings."""
    if tuner is None:
        return nullcontext(), {}
    return TUNERS[tuner].best(log), TUNERS[tuner].CONFIG
