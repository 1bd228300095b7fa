import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bitsweep import child

ROOT = Path(__file__).parents[2]
AMPLE = child.Limits(seconds=60, memory_bytes=2**31)


def run(code, log, limits=AMPLE):
    return child.run(
        [sys.executable, "-c", code], environment=dict(os.environ), log=log, limits=limits
    )


def test_output_goes_to_the_log_and_the_status_comes_back(tmp_path):
    log = tmp_path / "log"
    log.write_text("before\n")
    code = "import sys, os; print('out', flush=True); os.write(2, b'err\\n'); sys.exit(3)"
    ending = run(code, log)
    assert (ending.returncode, ending.signal, ending.killed_for) == (3, None, None)
    assert log.read_text() == "before\nout\nerr\n"
    assert ending.peak_rss_bytes > 2**20


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_signal_is_named(tmp_path, name):
    ending = run(f"import os, signal; os.kill(os.getpid(), signal.{name})", tmp_path / "log")
    assert (ending.signal, ending.killed_for) == (name, None)


def test_a_time_out_ends_the_child_and_its_children(tmp_path):
    code = (
        "import signal, subprocess, sys\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "print(other.pid, flush=True)\n"
        "signal.pause()"
    )
    ending = run(code, tmp_path / "log", child.Limits(seconds=2, memory_bytes=2**31))
    assert ending.killed_for == "timeout"
    grandchild = int((tmp_path / "log").read_text())
    assert ended(grandchild)


def test_a_memory_limit_holds_for_all_processes_together(tmp_path):
    eat = "block = b'x' * (150 << 20)"
    code = (
        "import os, signal\n"
        f"if os.fork() == 0:\n    {eat}\n    signal.pause()\n"
        f"{eat}\n"
        "signal.pause()"
    )
    limits = child.Limits(seconds=60, memory_bytes=250 << 20)
    assert run(code, tmp_path / "log", limits).killed_for == "memory"


def test_pages_shared_by_forked_workers_count_once(tmp_path):
    code = (
        "import os, signal\n"
        "block = b'x' * (150 << 20)\n"
        "signal.signal(signal.SIGALRM, lambda *_: os._exit(0))\n"
        "workers = [os.fork() for _ in range(2)]\n"
        "signal.setitimer(signal.ITIMER_REAL, 1)\n"
        "signal.pause()"
    )
    limits = child.Limits(seconds=60, memory_bytes=300 << 20)
    assert run(code, tmp_path / "log", limits).killed_for is None


def test_the_child_ends_when_its_parent_is_cancelled(tmp_path):
    log = tmp_path / "log"
    parent_code = (
        "import os, pathlib, sys\n"
        "from bitsweep import child\n"
        "child.run([sys.executable, '-c', 'import os, signal; print(os.getpid(), flush=True);'\n"
        "           'signal.pause()'], environment=dict(os.environ),\n"
        f"          log=pathlib.Path({str(log)!r}), limits=child.Limits(60, 2**31))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], cwd=ROOT)
    pid = int(eventually(lambda: log.exists() and log.read_text().strip()))
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(30) == 128 + signal.SIGTERM
    assert ended(pid)


def ended(pid):
    """Whether a process ends within seconds; a zombie nobody reaps has ended."""
    return eventually(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    )


def eventually(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
    return value
