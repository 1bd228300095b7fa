"""What engines declare is there."""

from pathlib import Path

import pytest

from bitsweep.engines.declared import ENGINES

ROOT = Path(__file__).parents[2]
TASKS = ("frontend", "quantize", "compile", "link", "run_once", "answer", "benchmark", "probe")


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_its_tasks_and_pins_what_it_is_installed_from(name):
    package = ROOT / "bitsweep" / "engines" / name
    assert {task for task in TASKS if not (package / f"{task}.py").is_file()} == set()
    for path in ENGINES[name].requirements.values():
        lines = [line.partition("#")[0].strip() for line in (ROOT / path).read_text().splitlines()]
        assert all("==" in line for line in filter(None, lines))


def test_what_two_engines_and_the_benchmark_of_peers_pin_alike_is_one_version():
    pins = {}
    for path in (*ROOT.glob("requirements/*.txt"), ROOT / "requirements.txt"):
        if path.name.startswith("relay"):
            continue  # whose TVM wants an older numpy
        for line in path.read_text().splitlines():
            package, found, pinned = line.partition("#")[0].strip().partition("==")
            if found:
                assert pins.setdefault(package, pinned) == pinned, package
