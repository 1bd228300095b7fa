import fcntl

import pytest

from tests.workflow.checkout import Checkout, Run
from tests.workflow.slurm import cluster


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """A copy of the sources, nothing run; no test may leave results in it."""
    return Checkout.of_the_repository(tmp_path_factory.mktemp("bare") / "bit sweep")


@pytest.fixture(scope="session")
def sweep(tmp_path_factory, worker_id):
    """A copy with `config/test.yaml` run to its end, not to be changed, and how it ended.

    One process of pytest runs it, all have a copy of their own: dry runs are locked, too.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    with (shared / "sweep lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        original = Checkout(shared / "sweep" / "bit sweep")
        if not original.folder.exists():
            made = Checkout.of_the_repository(shared / "making" / "bit sweep")
            made.done()
            made.folder.parent.rename(original.folder.parent)
    checkout = original.copy(tmp_path_factory.mktemp("sweep") / "bit sweep")
    return checkout, Run(0, checkout.path("terminal").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def finished(sweep):
    """The copy of `sweep` alone."""
    return sweep[0]


@pytest.fixture
def digits(finished, tmp_path):
    """A finished copy for one test to change, with the results of the digits only."""
    return finished.copy(tmp_path / "bit sweep", without=("wide",))


@pytest.fixture(scope="session")
def slurm():
    """A Slurm of one node, as long as tests run; skips where none can be run."""
    with cluster() as running:
        yield running
