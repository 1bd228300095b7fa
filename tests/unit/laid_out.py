"""Engines as `snakemake .engines/NAME/engine.json` lays them out, for tests."""

from pathlib import Path

import pytest

from bitsweep.engines import task

ROOT = Path(__file__).parents[2]


def record(name):
    """Return the path of an engine's record; fail, naming the remedy, where it is not laid out."""
    path = ROOT / ".engines" / name / "engine.json"
    if not path.exists():
        pytest.fail(
            f"an engine is missing: run `snakemake --cores 1 -- .engines/{name}/engine.json`"
        )
    return path


def engine(name):
    """Return an engine, its paths absolute."""
    read = task.Engine.read(record(name))
    return task.Engine(read.name, tuple(str(ROOT / path) for path in read.python_path), {})
