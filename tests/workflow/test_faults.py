"""What goes wrong on one machine: full and read-only disks, a killed script, two runs at once.

None of it is an outcome: a run ends with one sentence, and goes on when the fault is mended.
"""

import pytest

from bitsweep import outcome
from tests.workflow.checkout import DIGITS, eventually, running
from tests.workflow.disk import AMPLE_BYTES, NO_SPACE, mounted, run_on_full
from tests.workflow.test_killing import FOLDER, LOGS, TARGET, assert_made

KIB = 1024


@pytest.fixture
def disk(digits):
    """The file system of the results of `digits`."""
    with mounted(digits.path("results")) as disk:
        yield disk


@pytest.fixture
def temporary(tmp_path):
    """The file system of temporary files."""
    with mounted(tmp_path / "temporary") as disk:
        yield disk


def hidden(checkout):
    """Return the temporary files and folders among the results."""
    return list(checkout.path("results").rglob(".*"))


@pytest.mark.parametrize(
    ("rule", "target", "free_bytes"),
    [
        # What PyTorch says when a file is cut short does not tell why.
        ("trace", "results/digits/trace.json", 500 * KIB),
        # The TVM process cannot even tell that it failed.
        ("quantize", TARGET, 0),
        ("compile", "results/digits/relax/cpu/int8/compile.json", 1000 * KIB),
        # The linker fails, and removes what it wrote.
        ("export", f"{FOLDER}/export.json", 200 * KIB),
        ("aggregate", "results/tables/summary.md", 0),
    ],
)
def test_a_full_disk_is_no_outcome(digits, disk, rule, target, free_bytes):
    ended = run_on_full(disk, free_bytes, digits, rule, target, config=DIGITS)
    assert ended.returncode != 0
    assert ended.errors() == [f"Error: {rule}: {NO_SPACE.format(disk.folder)}"]
    assert not digits.path(target).exists()
    assert hidden(digits) == []

    disk.leave(AMPLE_BYTES)
    digits.done(target, config=DIGITS)
    if target.endswith(".json"):
        left = outcome.read(digits.path(target))
        assert left.state == "ok"
        for artifact in left.artifacts:
            assert outcome.sha256(digits.path(artifact.path)) == artifact.sha256


def test_an_engine_that_does_not_fit_is_named(digits):
    with mounted(digits.path(".engines")) as disk:
        disk.leave(20 * 2**20)
        shipped = {**DIGITS, "engines": {}}
        ended = digits.run(".engines/relay/engine.json", config=shipped)
        assert ended.returncode != 0
        assert ended.errors() == [f"Error: engine: {NO_SPACE.format(disk.folder)}"]
        disk.leave(2**30)
        digits.done(".engines/relay/engine.json", config=shipped)


def test_room_for_temporary_files_that_runs_out_is_no_outcome(digits, temporary):
    """LLVM, which writes object files there, ends the process."""
    target = f"{FOLDER}/compile.json"
    where = {"TMPDIR": str(temporary.folder)}
    ended = run_on_full(temporary, 64 * KIB, digits, "compile", target, config=DIGITS, **where)
    assert ended.returncode != 0
    assert ended.errors() == [f"Error: compile: {NO_SPACE.format(temporary.folder)}"]
    assert "LLVM ERROR: IO failure" in digits.path(f"{LOGS}/compile.log").read_text()
    assert not digits.path(target).exists()

    temporary.leave(AMPLE_BYTES)
    digits.done(target, config=DIGITS, **where)
    assert outcome.read(digits.path(target)).state == "ok"


def assert_does_not_begin(checkout, *arguments, sentence):
    ended = checkout.run(*arguments, config=DIGITS)
    assert ended.returncode != 0
    assert sentence in ended.output.splitlines()
    assert "Traceback" not in ended.output
    assert "Error in rule" not in ended.output


@pytest.fixture
def inspection(digits):
    """The outcome of a stage that is to run, for want of all that it left."""
    outcome, code = f"{FOLDER}/inspect.json", f"{FOLDER}/code.json"
    for name in (outcome, code):
        digits.path(name).unlink()
    return outcome


def test_a_run_without_room_does_not_begin(digits, inspection, disk):
    disk.leave(512 * KIB)
    assert_does_not_begin(digits, inspection, sentence=NO_SPACE.format(disk.folder))
    disk.leave(AMPLE_BYTES)
    digits.done(inspection, config=DIGITS)


def test_a_run_that_may_not_write_does_not_begin(digits, inspection, disk):
    disk.remount("ro")
    read_only = "results cannot be written to: Read-only file system"
    assert_does_not_begin(digits, inspection, sentence=read_only)
    # What is there and would be made again is Snakemake's to protect.
    protected = "Write-protected output files for rule quantize:"
    assert_does_not_begin(digits, "--forcerun", TARGET, "--", TARGET, sentence=protected)
    assert "Nothing to be done" in digits.done(TARGET, config=DIGITS).output
    disk.remount("rw")
    digits.done(inspection, config=DIGITS)


def test_a_killed_script_takes_its_tvm_along(digits):
    """As by the machine's out-of-memory killer, which chooses whom it will."""
    with running(digits, "--forcerun", TARGET, "--", TARGET, config=DIGITS) as snakemake:
        eventually(digits.path(f"{LOGS}/.quantize.log.staging/under_way").exists, "TVM to begin")
        worker = digits.worker()
        worker.suspend()  # so that it does not end by itself
        worker.parent().kill()
        ended = digits.finish(snakemake)
        eventually(lambda: not digits.processes(), "the TVM process to end")
    assert ended.returncode != 0
    assert "SIGKILL" in ended.output
    assert not digits.path(TARGET).exists()

    digits.done(TARGET, config=DIGITS)
    assert_made(digits)


def test_a_second_run_is_refused_and_the_first_goes_on(digits):
    with running(digits, "--forcerun", TARGET, "--", TARGET, config=DIGITS) as first:
        worker = eventually(digits.worker, "quantization to begin")
        worker.suspend()
        second = digits.run(TARGET, config=DIGITS)
        assert second.returncode != 0
        assert "Directory cannot be locked" in second.output
        worker.resume()
        assert first.wait() == 0
    assert_made(digits)
    assert "Nothing to be done" in digits.done(TARGET, config=DIGITS).output
