"""The Relay engine as `snakemake .engines/relay/engine.json` lays it out, for tests."""

from pathlib import Path

import pytest

from bitsweep.engines import task

ROOT = Path(__file__).parents[2]
RECORD = ROOT / ".engines" / "relay" / "engine.json"


def engine():
    """Return the engine; fail, naming the remedy, where it is not laid out."""
    if not RECORD.exists():
        pytest.fail("the engine is missing: run `snakemake --cores 1 .engines/relay/engine.json`")
    read = task.Engine.read(RECORD)
    return task.Engine(read.name, tuple(str(ROOT / path) for path in read.python_path), {})
