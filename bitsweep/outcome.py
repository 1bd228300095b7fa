"""Outcomes: what became of one stage of one experiment, a failure being a result like any other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bitsweep.artifact import sha256, write_text
from bitsweep.errors import UserError

State = Literal["ok", "failed", "skipped"]
STAGES = (
    "trace",
    "import",
    "calibrate",
    "costs",
    "time_layers",
    "frontier",
    "search",
    "quantize",
    "tune",
    "compile",
    "export",
    "benchmark",
    "evaluate",
    "inspect",
)
KEYS = ("model", "engine", "target", "precision")
DEPENDS_ON = {
    "trace": KEYS[:1],
    **dict.fromkeys(("import", "calibrate"), KEYS[:2]),
    **dict.fromkeys(("costs", "time_layers", "frontier"), KEYS[:3]),
    **dict.fromkeys(("search", *STAGES[STAGES.index("quantize") :]), KEYS),
}
"""What a stage depends on of its experiment; its folder is called by these."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Experiment(_Record):
    """Which experiment a stage belongs to; what a stage does not depend on is None."""

    model: str
    engine: str | None = None
    target: str | None = None
    precision: str | None = None

    def __str__(self) -> str:
        return "/".join(key for name in KEYS if (key := getattr(self, name)))


class Artifact(_Record):
    """A file that a stage wrote."""

    path: str
    size_bytes: int
    sha256: str


class Failure(_Record):
    """Which part failed, and how.

    `kind` is `exception` (raised inside TVM, or the engine's other tool), `refused` (by this
    project: its quantizer, for want of a layer that the precision names, or of a plan that does
    what a search asks; a target that the tool cannot compile for), `crash` (ended by a signal, or
    by LLVM), `timeout` or `memory`; `type` the exception's or signal's name; `function`, `file` and
    `line` the place in the tool's source, or the function under way where no source is known, None
    where none was; `log` the full log's path; `limit` the one that it was stopped at: seconds for
    `timeout`, MiB for `memory`.
    """

    kind: Literal["exception", "refused", "crash", "timeout", "memory"]
    type: str
    message: str
    function: str | None = None
    file: str | None = None
    line: int | None = None
    log: str | None = None
    limit: float | None = None


class Coverage(_Record):
    """How much of a network runs in integers.

    `macs` are the multiplications with accumulation of one image, `integer_macs` those of integers;
    `float_operators` counts, by name, the operators that stayed in floating point.
    `mean_weight_bits` are the bits of a weight, on average over all layers' weights, where the
    engine knows.
    """

    macs: int
    integer_macs: int
    float_operators: dict[str, int] = {}
    mean_weight_bits: float | None = None


class Outcome(_Record):
    """What became of one stage; written as `{stage}.json` beside its artifacts.

    `coverage` is there where the stage is `quantize` and it is ok.
    """

    state: State
    stage: str
    experiment: Experiment
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    artifacts: tuple[Artifact, ...] = ()
    error: Failure | None = None
    skipped_by: str | None = None
    coverage: Coverage | None = None
    environment: dict[str, str | None] = {}

    @property
    def failed_stage(self) -> str | None:
        """The stage that failed: this one, or the earlier one that made it skip."""
        return self.stage if self.state == "failed" else self.skipped_by

    def write(self, path: Path | str) -> None:
        """Write the outcome as JSON, atomically."""
        write_text(path, self.model_dump_json(indent=2) + "\n")


def read(path: Path | str) -> Outcome:
    """Read an outcome; raise `UserError` when the file is not one."""
    try:
        return Outcome.model_validate_json(Path(path).read_bytes())
    except ValueError as error:
        raise UserError(
            f"{path} is not an outcome ({str(error).splitlines()[0]}); delete it and run again"
        ) from error


def describe(paths: Iterable[Path | str]) -> tuple[Artifact, ...]:
    """Return size and sha256 of files, in the order given."""
    return tuple(
        Artifact(path=str(path), size_bytes=Path(path).stat().st_size, sha256=sha256(path))
        for path in paths
    )


def verify(outcomes: Iterable[Outcome], paths: Iterable[Path | str]) -> None:
    """Check that files are still what the stages that wrote them left.

    Raises `UserError` naming the file when it is in none of the outcomes or its sha256 differs.
    """
    recorded = {artifact.path: artifact for outcome in outcomes for artifact in outcome.artifacts}
    for path in map(str, paths):
        if path not in recorded:
            raise UserError(f"{path} is recorded in no outcome of the stages before; delete it")
        if sha256(path) != recorded[path].sha256:
            raise UserError(
                f"{path} is corrupt: its sha256 is not the one its outcome recorded; "
                "delete it and run again"
            )
