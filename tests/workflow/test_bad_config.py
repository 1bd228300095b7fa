"""A bad config is refused before any job starts, in one line that says what is allowed."""

import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest

CASES = {
    "precision": (
        {"sweep": {"precisions": ["float32", "int3"]}},
        "sweep.precisions = 'int3' is unknown; allowed: float32, ",
    ),
    "model": (
        {"sweep": {"models": ["resnet81"]}},
        "sweep.models = 'resnet81' is unknown; allowed: digits, wide, resnet50",
    ),
    "engine": ({"sweep": {"engines": ["relya"]}}, "sweep.engines = 'relya' is unknown; allowed: "),
    "target": ({"sweep": {"targets": ["gpu"]}}, "sweep.targets = 'gpu' is unknown; allowed: cpu"),
    "section": ({"benchmarks": {}}, "benchmarks is not a known key; allowed: sweep, models, "),
    "key": (
        {"models": {"digits": {"image": 3}}},
        "models.digits.image is not a known key; allowed: factory, weights, data, input_shape",
    ),
    "no bits": (
        {"precisions": {"int8": {"relay": {"bits": 0}}}},
        "precisions.int8.relay.bits = 0: allowed is 1 or more",
    ),
    "negative bits": (
        {"precisions": {"int8": {"relay": {"bits": -8}}}},
        "precisions.int8.relay.bits = -8: allowed is 1 or more",
    ),
    "wide bits": (
        {"precisions": {"int4": {"relay": {"bits": 8}}}},
        "8 bits do not fit into int4",
    ),
    "wide bits in relax": (
        {"precisions": {"w4a8": {"relax": {"weight_bits": 9}}}},
        "precisions.w4a8.relax.weight_bits = 9: allowed are 1 to 8",
    ),
    "preset": (
        {"precisions": {"w4a8": {"relax": {"preset": "w5a8"}}}},
        "precisions.w4a8.relax.preset = 'w5a8': allowed are 'w8a8', 'w4a8', ",
    ),
    "precision of another engine": (
        {"sweep": {"engines": ["relay"], "precisions": ["float32", "w4a8"]}},
        "sweep.precisions = 'w4a8' has a section for relax only",
    ),
    "sensitivity": (
        {"sensitivity": {"precisions": ["int4_in_int8"]}},
        "sensitivity.precisions = 'int4_in_int8' is unknown; allowed: int8, w4a8",
    ),
    "name for a shell": (
        {"models": {"a; touch pwned": {"factory": "resnet18"}}},
        "'a; touch pwned': a name has letters, digits",
    ),
    "factory": (
        {"models": {"wide": {"factory": "resnet5"}}},
        "models.wide.factory = 'resnet5' is not a classifier of torchvision; near it: resnet",
    ),
    "cpu": (
        {"targets": {"cpu": {"cpu": "skylke"}}},
        "targets.cpu.cpu = 'skylke' is unknown to LLVM for x86_64",
    ),
    "target for a shell": (
        {"targets": {"cpu": {"cpu": "$(touch pwned)"}}},
        "targets.cpu.cpu = '$(touch pwned)': string should match",
    ),
}


@pytest.mark.parametrize(("config", "sentence"), CASES.values(), ids=CASES)
def test_a_bad_config_is_refused_in_a_line(bare, config, sentence):
    ended = bare.run(config=config)
    assert ended.returncode == 1
    assert ended.output.splitlines()[-1].startswith("Error: config: ")
    assert sentence in ended.output.splitlines()[-1]
    assert "WorkflowError" not in ended.output
    assert "Traceback" not in ended.output
    assert not bare.path("results").exists()
    assert not bare.path("pwned").exists()


def test_a_key_that_is_there_twice_is_refused_with_its_lines(bare):
    path = bare.path("twice.yaml")
    path.write_text("benchmark:\n  runs: 3\n  runs: 4\n")
    ended = bare.run("-n", "--configfile", path.name)
    path.unlink()
    assert ended.returncode == 1
    assert ended.output.splitlines()[-1] == (
        f"Error: config: {path}, line 3: benchmark.runs is there already, in line 2"
    )


def test_an_environment_in_a_folder_with_a_space_is_refused_before_any_job(bare):
    """Its path is what Snakemake starts scripts by."""
    venv.create(bare.path(".venv"), symlinks=True, with_pip=False)
    (site,) = bare.path(".venv/lib").glob("python*/site-packages")
    (site / "environment.pth").write_text(sysconfig.get_path("purelib"))
    ended = bare.run("-n", python=str(bare.path(".venv/bin/python")))
    shutil.rmtree(bare.path(".venv"))
    assert ended.returncode == 1
    assert ended.output.splitlines()[-1].startswith("Error: Snakemake cannot start scripts by '")
    assert "whose path has a space" in ended.output


def test_make_refuses_a_folder_with_a_space_before_it_installs_anything(bare):
    made = subprocess.run(["make", "results"], cwd=bare.folder, capture_output=True, text=True)
    assert made.returncode != 0
    assert "has a space, by which Snakemake cannot start Python" in made.stderr
    assert not bare.path(".venv").exists()
    elsewhere = ["make", "-n", "results", f"VENV={sys.prefix}"]
    assert subprocess.run(elsewhere, cwd=bare.folder, capture_output=True).returncode == 0
