"""The process in which tasks run, asked for the probe of small packages that stand for a TVM."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TVM = """
import pathlib
__version__ = "0.20"
try:
    import torch
    pathlib.Path("asked").write_text("with PyTorch")
except ImportError:
    pathlib.Path("asked").write_text("without PyTorch")
"""


@pytest.fixture
def ask(tmp_path):
    """Ask for the probe of Relay on behalf of a process; return how the worker ended."""
    (tmp_path / "site" / "tvm").mkdir(parents=True)
    (tmp_path / "site" / "tvm" / "__init__.py").write_text(TVM)

    def ask(parent, reply="reply"):
        request = {"engine": "relay", "task": "probe", "inputs": {}, "outputs": {}}
        request |= {"settings": {"python_path": str(tmp_path / "site")}, "parent": parent}
        (tmp_path / "request").write_text(json.dumps(request))
        return subprocess.run(
            [sys.executable, "-P", "-m", "bitsweep.engines.worker", "request", reply],
            cwd=tmp_path,
            env={"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])},
            capture_output=True,
            text=True,
            check=False,
        ).returncode

    return ask


def test_a_worker_asks_tvm_for_the_process_that_waits(ask, tmp_path):
    assert ask(os.getpid()) == 0
    assert (tmp_path / "asked").read_text() == "without PyTorch"
    assert json.loads((tmp_path / "reply").read_text())["refused"]["type"] == "ImportError"


def test_a_worker_whose_parent_died_before_it_began_does_nothing(ask, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert ask(ended.pid) == 1
    assert not (tmp_path / "asked").exists()
    assert not (tmp_path / "reply").exists()


def test_a_worker_that_cannot_reply_says_so_by_its_status(ask):
    assert ask(os.getpid(), reply="/proc/reply") == os.EX_IOERR
