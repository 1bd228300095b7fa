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
_NOT_ARTIFACTS = (
    *("engine", "upstream", "baseline_outcome", "sources"),
    *("reference_engine", "reference_module_outcome", "untuned_module_outcome"),
)


def run(
    snakemake,
    *tasks: str,
    finish: Finish | None = None,
    using: Callable[..., task.Ended] | None = None,
) -> None:
    """Run the engine's `tasks`, one child process each, then `finish`, as the rule's stage.

    By convention of the rules, `input.upstream` are the outcomes that must be ok,
    `input.baseline_outcome` that of the optional `input.baseline`, as those of
    `input.reference_module` and `input.untuned_module` are called, and the other inputs artifacts
    by name. `output.outcome` is the outcome, which says what an output `coverage` says, and the
    other outputs are artifacts. A task finds what the tasks before it wrote among its inputs,
    unless an input has that name; `finish` takes the paths of inputs and outputs. Tasks are run by
    `using`, by `task.run` unless told.
    """
    run_task = using or task.run
    inputs = {name: p for name, p in snakemake.input.items() if name not in _NOT_ARTIFACTS}
    upstream = _as_list(snakemake.input.get("upstream", []))
    for beside in ("baseline", "reference_module", "untuned_module"):
        if beside not in inputs:
            continue
        path = snakemake.input[f"{beside}_outcome"]
        if outcome.read(path).state == "ok":
            upstream.append(path)
        else:
            inputs[beside] = None
    engine = task.Engine.read(snakemake.input.engine) if tasks else None

    def work(staged: dict[str, str]) -> Work:
        peak = 0
        for name in tasks:
            ended = run_task(
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
