"""What is mended of other packages: only what is known, and only as long as it needs it."""

import asyncio
import logging
import subprocess
import sys
import threading

import pytest
import snakemake_executor_plugin_slurm as plugin
from snakemake.scheduling.job_scheduler import JobScheduler

from bitsweep import upstream
from tests.workflow.checkout import ROOT


def known(one, other=2):
    """A function whose parameters are known."""


def test_what_fits_is_mended_without_a_word(capsys):
    assert upstream.fits("snakemake", "9.27.1", {known: ("one", "other")})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("version", "parameters", "told"),
    [
        ("9.26.0", ("one", "other"), "Warning: snakemake is 9.27.1; what bitsweep mends of 9.26.0"),
        ("9.27.1", ("one",), "Warning: snakemake is 9.27.1, and known changed; what bitsweep"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(capsys, version, parameters, told):
    assert not upstream.fits("snakemake", version, {known: parameters})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(told)


# Each of these fails when upstream has mended it itself: then `bitsweep` need not any more.


def test_snakemake_still_waits_for_its_own_lock_on_sigterm():
    class Scheduler(JobScheduler):
        def __init__(self):
            self._lock = threading.Lock()
            self._open_jobs = threading.Semaphore(0)

    scheduler = Scheduler()
    with scheduler._lock:
        handler = threading.Thread(target=scheduler.exit_gracefully, daemon=True)
        handler.start()
        handler.join(1)
        assert handler.is_alive()
    handler.join()


LOOKING_AT_A_PARAMETER = """
import sys
from snakemake.persistence import PersistenceBase
from bitsweep import records

class Own:
    _serialize_param_pandas = PersistenceBase._serialize_param_pandas
    _serialize_param_builtin = PersistenceBase._serialize_param_builtin

if sys.argv[1:] == ["mended"]:
    records.mend(PersistenceBase)
print(PersistenceBase._serialize_param.fget(Own())(["a", 1]), "pandas" in sys.modules)
"""


@pytest.mark.parametrize(("mended", "imported"), [([], True), (["mended"], False)])
def test_snakemake_still_imports_pandas_to_look_at_a_parameter(mended, imported):
    command = [sys.executable, "-c", LOOKING_AT_A_PARAMETER, *mended]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert told.stdout == f"['a', 1] {imported}\n", told.stderr


def test_the_slurm_plugin_still_knows_no_job_that_somebody_cancelled():
    told = "printf '%s\\n' '5|CANCELLED by 0'"
    states, _ = asyncio.run(plugin.query_job_status(told, logging.getLogger()))
    assert states == {"5": "CANCELLED by 0"}


def test_the_slurm_plugin_still_says_nothing_of_a_job_that_is_forgotten():
    states, _ = asyncio.run(plugin.query_job_status("true", logging.getLogger()))
    assert states == {}


def test_the_slurm_plugin_still_gives_up_where_no_controller_answers(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert plugin.get_min_job_age() is None
