"""One stage of one experiment: read what came before, work, leave artifacts and an outcome."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bitsweep.artifact import replacing, staging_directory
from bitsweep.outcome import Coverage, Experiment, Failure, Outcome, describe, read, verify


@dataclass(frozen=True)
class Work:
    """What a stage's work came to; `failure` is TVM's, errors of ours are raised instead."""

    failure: Failure | None = None
    peak_rss_bytes: int = 0
    coverage: Coverage | None = None


@dataclass(frozen=True)
class Stage:
    """A stage about to run: where its outcome and its artifacts, by name, go."""

    name: str
    experiment: Experiment
    outcome: Path | str
    artifacts: Mapping[str, str]
    environment: Mapping[str, str | None] = field(default_factory=dict)

    def run(
        self,
        work: Callable[[dict[str, str]], Work],
        *,
        upstream: Iterable[Path | str] = (),
        reads: Iterable[Path | str] = (),
    ) -> None:
        """Do the stage's work, unless a stage before it failed.

        `upstream` are the outcomes of the stages that this one depends on and `reads` the
        artifacts of theirs that it reads, checked against their sha256. `work` takes the temporary
        path of each artifact by name. Artifacts get their names only when all are written; a
        failed or skipped stage leaves them empty. Raises `UserError` for a corrupt artifact.
        """
        before = [read(path) for path in upstream]
        broken = next((outcome for outcome in before if outcome.state != "ok"), None)
        if broken is not None:
            self._leave_empty()
            self._conclude("skipped", skipped_by=broken.failed_stage)
            return
        verify(before, reads)
        start = time.monotonic()
        with staging_directory(self.outcome) as directory:
            staged = {name: str(directory / Path(p).name) for name, p in self.artifacts.items()}
            result = work(staged)
            seconds = time.monotonic() - start
            if result.failure is None:
                for name, path in self.artifacts.items():
                    Path(staged[name]).replace(path)
        if result.failure is not None:
            self._leave_empty()
        self._conclude(
            "failed" if result.failure else "ok",
            seconds=seconds,
            peak_rss_bytes=result.peak_rss_bytes,
            error=result.failure,
            coverage=result.coverage,
        )

    def _leave_empty(self) -> None:
        for path in self.artifacts.values():
            with replacing(path) as temporary:
                temporary.touch()

    def _conclude(self, state, **fields) -> None:
        Outcome(
            state=state,
            stage=self.name,
            experiment=self.experiment,
            artifacts=describe(self.artifacts.values()) if state == "ok" else (),
            environment=dict(self.environment),
            **fields,
        ).write(self.outcome)
