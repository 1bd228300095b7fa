"""The Relay engine as `snakemake .engines/relay/engine.json` lays it out, for tests."""

from pathlib import Path

import pytest

from bitsweep.child import Limits
from bitsweep.engines import task

ROOT = Path(__file__).parents[2]
RECORD = ROOT / ".engines" / "relay" / "engine.json"
AMPLE = Limits(seconds=300, memory_bytes=4 * 2**30)
NATIVE = {"triple": "native", "cpu": "native", "attributes": []}


def engine():
    """Return the engine; fail, naming the remedy, where it is not laid out."""
    if not RECORD.exists():
        pytest.fail("the engine is missing: run `snakemake --cores 1 .engines/relay/engine.json`")
    read = task.Engine.read(RECORD)
    return task.Engine(read.name, tuple(str(ROOT / path) for path in read.python_path), {})


def run(name, folder, *, inputs=None, outputs=None, limits=AMPLE, **settings):
    """Run a task of the engine; paths of inputs and outputs are relative to `folder`."""
    return task.run(
        engine(),
        name,
        inputs={key: str(folder / path) for key, path in (inputs or {}).items()},
        outputs={key: str(folder / path) for key, path in (outputs or {}).items()},
        settings=settings,
        limits=limits,
        threads=1,
        log=folder / "log",
    )
