"""Killed jobs leave nothing half done, and a run goes on where it was stopped."""

import signal

import pytest

from bitsweep import outcome
from tests.workflow.checkout import DIGITS, eventually, running

FOLDER = "results/digits/relay/cpu/int8"
TARGET = f"{FOLDER}/quantize.json"
LOGS = "results/logs/digits/relay/cpu/int8"


def left_over(checkout):
    """Temporary files and folders of this stage."""
    return [
        path
        for folder in (FOLDER, LOGS)
        for path in checkout.path(folder).iterdir()
        if path.name.startswith(".")
    ]


def assert_made(checkout):
    left = outcome.read(checkout.path(TARGET))
    assert left.state == "ok"
    for artifact in left.artifacts:
        assert outcome.sha256(checkout.path(artifact.path)) == artifact.sha256
    assert left_over(checkout) == []


@pytest.mark.parametrize("what", ["snakemake", "everything"])
def test_a_killed_run_goes_on_where_it_was(digits, what):
    with running(digits, "--forcerun", TARGET, "--", TARGET, config=DIGITS) as snakemake:
        eventually(digits.worker, "quantization to begin")
        if what == "everything":
            for process in digits.processes():
                process.send_signal(signal.SIGKILL)
        snakemake.kill()
        snakemake.wait()
        eventually(lambda: not digits.processes(), "all processes to end")
    assert not digits.path(TARGET).exists()
    assert not digits.path(f"{FOLDER}/quantized.ir").exists()

    refused = digits.run(TARGET, config=DIGITS)
    assert refused.returncode != 0
    assert "--unlock" in refused.output
    digits.done("--unlock", config=DIGITS)
    digits.done(TARGET, config=DIGITS)
    assert_made(digits)


def test_an_interrupted_run_ends_its_processes_and_goes_on(digits):
    """As Ctrl-C does, which reaches all processes of the terminal."""
    with running(digits, "--forcerun", TARGET, "--", TARGET, config=DIGITS) as snakemake:
        eventually(digits.worker, "quantization to begin")
        for process in digits.processes():
            if "bitsweep.engines.worker" not in process.cmdline():
                process.send_signal(signal.SIGINT)
        assert digits.finish(snakemake).returncode != 0
        eventually(lambda: not digits.processes(), "all processes to end")
    assert not digits.path(TARGET).exists()
    assert left_over(digits) == []


def test_a_tvm_killed_from_outside_is_no_outcome(digits):
    """As by the machine's out-of-memory killer: it says nothing about the precision."""
    with running(digits, "--forcerun", TARGET, "--", TARGET, config=DIGITS) as snakemake:
        eventually(digits.worker, "quantization to begin").send_signal(signal.SIGKILL)
        ended = digits.finish(snakemake)
    assert ended.returncode != 0
    (sentence,) = ended.errors()
    assert "killed from outside by SIGKILL" in sentence
    assert not digits.path(TARGET).exists()
    assert left_over(digits) == []
    digits.done(TARGET, config=DIGITS)
    assert_made(digits)
