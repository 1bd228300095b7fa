"""Every script of `benchmarks/`, as a process, at its smallest size: it prints what it promises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"

# A script's arguments, and what it prints, in which <> is a number.
SMALLEST = {
    "coverage": (
        ["1"],
        [rf"{name}: .*\n.+\n.+\n +20( +<>){{4}}\n" for name in ("latency", "speed-up")],
    ),
    "digits": (
        ["1", "4", "w8a8"],
        [r"seed 0 w8a8 +<>", r"mean of 1: float32 +<>  \(<>\)", r"mean of 1: w8a8 +<>  \(<>\)"],
    ),
    "kernels": (
        # resnet50's fifth is the first with a residual, vit_b_16's third is attention
        ["--network=resnet50", "--network=vit_b_16", "--shapes=5", "float32", "bfloat16", "w1a1"],
        [
            r"a second: <> float, .+\n",
            r"resnet50 float32 .*\n(.+ <> +<> +<> +<> +<>\n){5}all +7 +<> +<> +<>\n",
            r"resnet50 bfloat16 .*\n(.+\n){5}all +7 ",
            r"resnet50 w1a1 .*\n(.+\n){5}all +7 ",
            r"vit_b_16 w1a1 .*\n(.+\n){2}attention, 12 × 197 × 64 +12 .*\n(.+\n){2}all +49 ",
        ],
    ),
    "tiles": (
        ["--shapes", "1", "w1a1"],
        [r"w1a1 .*\n.+ <> +\S+ +<> +\S+ +<> +<>\nall +<> +<> +<>\n"],
    ),
    "models": (
        ["squeezenet1_1"],
        [r"squeezenet1_1 +\d.\de-\d\d +<> +<> +<> +<> +<> +100.0 \{'nn.avg_pool2d': 1\}"],
    ),
    "overhead": (
        ["--configfile", str(FOLDER.parent / "config/test.yaml"), "digits", "relax"],
        [r"experiment, relax\n", *(rf"\n{s} +<> +<> +<>" for s in ("quantize", "inspect", "all"))],
    ),
    "quantize": (
        ["squeezenet1_1", "w8a8", "1"],
        [r"squeezenet1_1 w8a8, 1 images: <> s, <> MiB", r"'integer_macs': <>"],
    ),
    "search": (
        ["digits", "2", "20"],
        [
            # Each by itself: HiGHS prints a line of its own now and then.
            *(r"costs: <> s, <> s of CPU\n", r"frontier: <> s, ", r"float32: .* <> %, test <> %\n"),
            r"\nmixed 3 +[\d,]+ +<> +<> +<>% +<>%\nuniform 3 +[\d,]+ .*\nof 20 random plans 0 ",
            r"\nsearch: .*\nfewest bytes +[\d,]+ .*\nuniform +[\d,]+ ",
        ],
    ),
    "scale": (["1"], [r"\n +1 +8 +69 \| +<> +<> +<> \| +<> \| +<> +<>\n"]),
}


# What has tests of its own.
OTHERS = {"peers"}
SCRIPTS = sorted(script for script in FOLDER.glob("*.py") if script.stem not in OTHERS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_benchmark_runs_at_its_smallest_size(script, tmp_path):
    arguments, promised = SMALLEST[script.stem]
    ended = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for line in promised:
        assert re.search(line.replace("<>", r"-?[\d.]+"), ended.stdout), ended.stdout
