import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRAME = """
import os, subprocess, sys
from types import SimpleNamespace
from bitsweep.errors import UserError
from bitsweep.script import script

with script(SimpleNamespace(rule="compile", log=["logs/deep/compile.log"], output=[])):
    {block}
"""


@pytest.fixture
def run(tmp_path):
    """Run a block as a workflow script; return how it ended and what its log holds, if it is."""
    log = tmp_path / "logs/deep/compile.log"

    def run(block):
        ended = subprocess.run(
            [sys.executable, "-c", FRAME.format(block=block)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.stdout == ""
        return ended, log.read_text() if log.exists() else None

    return run


def test_output_goes_to_the_log_and_none_to_the_terminal(run):
    ended, log = run("print('out'); print('err', file=sys.stderr)")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(log.splitlines()) == ["err", "out"]


def test_output_of_libraries_and_of_children_does_too(run):
    ended, log = run(
        "os.write(1, b'C library\\n');"
        "subprocess.run([sys.executable, '-c', 'import sys; print(1); print(2, file=sys.stderr)'])"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(log.splitlines()) == ["1", "2", "C library"]


def test_a_log_of_an_earlier_run_is_replaced(run):
    run("print('first')")
    assert run("print('second')")[1] == "second\n"


def test_a_line_may_be_told_to_both(tmp_path):
    frame = FRAME.replace("output=[])):", "output=[])) as tell:").format(block="tell('epoch 1')")
    ended = subprocess.run(
        [sys.executable, "-c", frame],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == ("", "epoch 1\n")
    assert (tmp_path / "logs/deep/compile.log").read_text() == "epoch 1\n"


def test_a_user_error_is_one_sentence_on_the_terminal(run):
    ended, log = run("print('before'); raise UserError('weights w.pt do not exist')")
    sentence = "Error: compile: weights w.pt do not exist\n"
    assert (ended.returncode, ended.stderr) == (1, sentence)
    assert sorted(log.splitlines()) == [sentence.rstrip(), "before"]


def test_what_another_process_appended_stays(run):
    append = "open('logs/deep/compile.log', 'a').write('of a child that tells why\\n')"
    _, log = run(f"{append}; raise UserError('it failed')")
    assert log.splitlines() == ["of a child that tells why", "Error: compile: it failed"]


def test_another_error_has_its_traceback_in_the_log_alone(run):
    ended, log = run("{}['key']")
    assert ended.returncode == 1
    assert ended.stderr == "Error: compile: KeyError: 'key' (see logs/deep/compile.log)\n"
    assert log.startswith("Traceback (most recent call last):\n")
    assert "KeyError: 'key'\n" in log
    assert "SystemExit" not in log


def test_an_error_of_many_lines_has_one_on_the_terminal(run):
    ended, log = run("raise RuntimeError('a node failed\\n  %0 = conv(%1)\\n  %2 = relu(%0)')")
    told = "Error: compile: RuntimeError: a node failed (see logs/deep/compile.log)\n"
    assert ended.stderr == told
    assert "RuntimeError: a node failed\n  %0 = conv(%1)\n  %2 = relu(%0)\n" in log


def test_a_script_that_exits_keeps_its_status(run):
    ended, log = run("sys.exit(143)")
    assert (ended.returncode, ended.stderr, log) == (143, "", "")


def test_a_log_that_cannot_be_written_is_one_sentence_on_the_terminal(run, tmp_path):
    (tmp_path / "logs").write_text("a file in the place of a folder")
    ended, log = run("print('not reached')")
    assert (ended.returncode, log) == (1, None)
    (sentence,) = ended.stderr.splitlines()
    assert sentence.startswith("Error: compile: NotADirectoryError: ")
