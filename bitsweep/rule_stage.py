"""A stage as its Snakemake rule declares it."""

import importlib.metadata
import platform
from collections.abc import Callable
from pathlib import Path

import bitsweep
from bitsweep import machine, outcome
from bitsweep.child import Limits
from bitsweep.engines import task
from bitsweep.outcome import Coverage, Experiment
from bitsweep.stage import Stage, Work

Finish = Callable[[dict[str, str | None], dict[str, str]], None]

# Inputs that are not artifacts of earlier stages: a record, outcomes, and the user's own files.
_NOT_ARTIFACTS = ("engine", "upstream", "baseline_outcome", "sources")


def run(snakemake, *tasks: str, finish: Finish | None = None) -> None:
    """Run the engine's `tasks`, one child process each, then `finish`, as the rule's stage.

    By convention of the rules, `input.upstream` are the outcomes that must be ok,
    `input.baseline_outcome` that of the optional `input.baseline`, and the other inputs artifacts
    by name. `output.outcome` is the outcome, which says what an output `coverage` says, and the
    other outputs are artifacts. A task finds what the tasks before it wrote among its inputs,
    unless an input has that name; `finish` takes the paths of inputs and outputs.
    """
    inputs = {name: p for name, p in snakemake.input.items() if name not in _NOT_ARTIFACTS}
    upstream = _as_list(snakemake.input.get("upstream", []))
    if "baseline" in inputs:
        if outcome.read(snakemake.input.baseline_outcome).state == "ok":
            upstream.append(snakemake.input.baseline_outcome)
        else:
            inputs["baseline"] = None
    engine = task.Engine.read(snakemake.input.engine) if tasks else None

    def work(staged: dict[str, str]) -> Work:
        peak = 0
        for name in tasks:
            ended = task.run(
                engine,
                name,
                inputs={**staged, **inputs},
                outputs=staged,
                settings=dict(snakemake.params.items()),
                limits=Limits(
                    snakemake.resources.limit_seconds, snakemake.resources.limit_mb * 2**20
                ),
                threads=machine.usable(snakemake.threads),
                log=snakemake.log[0],
            )
            peak = max(peak, ended.peak_rss_bytes)
            if ended.failure:
                return Work(ended.failure, peak)
        if finish:
            finish(inputs, staged)
        return Work(None, peak, _coverage(staged))

    artifacts = dict(snakemake.output.items())
    Stage(
        name=snakemake.rule,
        experiment=Experiment(**dict(snakemake.wildcards.items())),
        outcome=artifacts.pop("outcome"),
        artifacts=artifacts,
        environment={
            "bitsweep": bitsweep.__version__,
            "python": platform.python_version(),
            "torch": importlib.metadata.version("torch"),
            **(engine.versions if engine else {}),
        },
    ).run(work, upstream=upstream, reads=filter(None, inputs.values()))


def _coverage(staged: dict[str, str]) -> Coverage | None:
    if "coverage" not in staged:
        return None
    return Coverage.model_validate_json(Path(staged["coverage"]).read_bytes())


def _as_list(value) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
