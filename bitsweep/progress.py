"""How far a run is: a line for each experiment, with its figures, as soon as it is finished."""

import logging
import sys
from collections.abc import Callable, Iterable

from snakemake_interface_logger_plugins.common import LogEvent

from bitsweep.outcome import Experiment

LAST_STAGES = ("benchmark", "evaluate", "inspect")


class Progress(logging.Handler):
    """Hears of Snakemake's logger which jobs are finished.

    `jobs` are the jobs of this run with their ids; an experiment is finished when those of its
    `LAST_STAGES` are. `tell` makes the line of one.
    """

    def __init__(self, jobs: Iterable[tuple[int, object]], tell: Callable[[Experiment], str]):
        super().__init__()
        self.tell = tell
        self.experiments = {
            number: Experiment(**job.wildcards_dict)
            for number, job in jobs
            if job.rule.name in LAST_STAGES
        }
        self.total = len(set(self.experiments.values()))

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of an experiment whose last job this record tells of."""
        if getattr(record, "event", None) != LogEvent.JOB_FINISHED:
            return
        experiment = self.experiments.pop(record.job_id, None)
        left = set(self.experiments.values())
        if experiment is None or experiment in left:
            return
        try:
            line = self.tell(experiment)
        except Exception as error:  # a line less must not end the run
            line = f"{experiment}: {error}"
        print(f"[{self.total - len(left)}/{self.total}] {line}", file=sys.stderr, flush=True)
