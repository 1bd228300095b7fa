"""How a process that ends in none of TVM's functions is told: packages stand for a TVM."""

import pytest

from bitsweep.child import Limits
from bitsweep.engines import task
from bitsweep.errors import UserError

ASKING = "from bitsweep.engines.refusal import asking\nwith asking('tvm.f'): "


@pytest.fixture
def probe(tmp_path):
    """Probe a TVM whose Relay is these lines, imported in no block; return how that ended."""

    def probe(lines, seconds=60):
        (tmp_path / "site/tvm/relay").mkdir(parents=True)
        (tmp_path / "site/tvm/__init__.py").touch()
        (tmp_path / "site/tvm/relay/__init__.py").write_text(f"import os, time\n{lines}\n")
        return task.run(
            task.Engine("relay", (str(tmp_path / "site"),), {}),
            "probe",
            inputs={},
            outputs={"versions": str(tmp_path / "versions.json")},
            settings={"python_path": str(tmp_path / "site")},
            limits=Limits(seconds=seconds, memory_bytes=2**30),
            threads=1,
            log=tmp_path / "log",
        ).failure

    return probe


def test_a_crash_names_no_function(probe):
    failure = probe("os.kill(os.getpid(), 7)")
    assert (failure.kind, failure.type, failure.function) == ("crash", "SIGBUS", None)


def test_a_time_out_names_no_function(probe):
    failure = probe("time.sleep(60)", seconds=1)
    assert (failure.kind, failure.function) == ("timeout", None)


def test_an_exit_is_no_outcome(probe):
    with pytest.raises(UserError, match="or ended outside TVM's functions with exit status 3; see"):
        probe("os._exit(3)")


def test_an_exit_inside_a_function_is_a_crash_that_names_it(probe):
    """As LLVM ends a process."""
    failure = probe(ASKING + "os._exit(1)")
    assert (failure.kind, failure.type, failure.function) == ("crash", "exit status 1", "tvm.f")


def test_an_exit_after_a_function_is_no_outcome(probe):
    with pytest.raises(UserError, match="outside TVM's functions"):
        probe(ASKING + "pass\nos._exit(1)")
