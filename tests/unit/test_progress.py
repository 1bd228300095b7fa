import logging
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from bitsweep.outcome import Experiment
from bitsweep.progress import LAST_STAGES, Progress


def job(stage, precision):
    keys = {"model": "m", "engine": "relax", "target": "cpu", "precision": precision}
    return SimpleNamespace(rule=SimpleNamespace(name=stage), wildcards_dict=keys)


@pytest.fixture
def heard():
    """A logger with the progress of two experiments, of which one is only timed again."""
    jobs = [job("quantize", "int8"), *(job(stage, "int8") for stage in LAST_STAGES)]
    jobs += [job("benchmark", "int4"), SimpleNamespace(rule=SimpleNamespace(name="plots"))]
    logger = logging.Logger("snakemake")
    logger.addHandler(Progress(enumerate(jobs), lambda experiment: f"{experiment} ok: 3 ms"))
    return logger


def finish(logger, number):
    logger.info("Finished", extra={"event": LogEvent.JOB_FINISHED, "job_id": number})


def test_an_experiment_is_told_when_its_last_job_is_finished(heard, capsys):
    for number in (0, 3, 1):
        finish(heard, number)
    heard.info("something else")
    heard.info("Job 2 starts", extra={"event": LogEvent.JOB_STARTED, "job_id": 2})
    assert capsys.readouterr().err == ""
    finish(heard, 2)
    assert capsys.readouterr().err == "[1/2] m/relax/cpu/int8 ok: 3 ms\n"
    finish(heard, 5)
    assert capsys.readouterr().err == ""
    finish(heard, 4)
    assert capsys.readouterr().err == "[2/2] m/relax/cpu/int4 ok: 3 ms\n"


def test_a_line_that_cannot_be_told_ends_nothing(capsys):
    def broken(experiment: Experiment) -> str:
        raise ValueError("no figures")

    logger = logging.Logger("snakemake")
    logger.addHandler(Progress([(0, job("benchmark", "int8"))], broken))
    finish(logger, 0)
    assert capsys.readouterr().err == "[1/1] m/relax/cpu/int8: no figures\n"
