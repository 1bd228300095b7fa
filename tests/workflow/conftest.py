import pytest

from tests.workflow.checkout import Checkout
from tests.workflow.slurm import cluster


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """A copy of the sources, nothing run; no test may leave results in it."""
    return Checkout.of_the_repository(tmp_path_factory.mktemp("bare") / "bit sweep")


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
    """A copy with `config/test.yaml` run to its end, not to be changed, and what it printed."""
    checkout = Checkout.of_the_repository(tmp_path_factory.mktemp("sweep") / "bit sweep")
    return checkout, checkout.done()


@pytest.fixture(scope="session")
def finished(sweep):
    """The copy of `sweep` alone."""
    return sweep[0]


@pytest.fixture
def digits(finished, tmp_path):
    """A finished copy for one test to change, with the results of the digits only."""
    return finished.copy(tmp_path / "bit sweep", without=("resnet18",))


@pytest.fixture(scope="session")
def slurm():
    """A Slurm of one node, as long as tests run; skips where none can be run."""
    with cluster() as running:
        yield running
