"""What searches would have left, in networks whose errors are made up; the searching is real."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bitsweep.outcome import STAGES, Experiment, Failure, Outcome, describe
from bitsweep.search.frontier import explore
from bitsweep.search.plans import Network
from bitsweep.search.repair import NoPlan, Search
from bitsweep.tables import collect
from tests.unit import synthetic

IMAGES = 200
CLASSES = 10
GOALS = {
    "fewest_bits": {"minimise": "bytes", "tolerance": 1, "bytes": None, "latency_ms": None},
    "small": {"minimise": "error", "tolerance": None, "bytes": 40_000, "latency_ms": None},
    "hard": {"minimise": "error", "tolerance": None, "bytes": 10, "latency_ms": None},
}
FASTEST = {"minimise": "latency", "tolerance": 3, "bytes": None, "latency_ms": None}


def experiment(precision: str, model: str = "digits") -> Experiment:
    return Experiment(model=model, engine="relax", target="cpu", precision=precision)


def leave(
    results: Path,
    model: str = "digits",
    goals: Mapping[str, Mapping] = GOALS,
    *,
    layers: int = 12,
    timed: bool = False,
    widths: Sequence[int] = (8,),
    seed: int = 0,
) -> list[Experiment]:
    """Write what a network's experiments leave: float32, two widths, and the searches for `goals`.

    Labels are there where `synthetic.MODELS` says so.
    """
    precisions = ["float32", "w4a8", "w2a8", *goals]
    ours = [experiment(precision, model) for precision in precisions]
    synthetic.leave(results, ours, {})
    labelled = synthetic.MODELS[model]["labelled"]
    folder = results / model / "relax" / "cpu"
    _leave_selection(results / model, ours[0], labelled)
    costs = _costs(layers, widths, seed)
    times = _times(costs) if timed else None
    of_network = experiment("float32", model).model_copy(update={"precision": None})
    network = Network.of(costs)
    judge = _Judge(network, labelled, seed)
    plans = explore(network, judge)
    record(folder, "costs", of_network, layer_costs=costs)
    record(folder, "frontier", of_network, frontier_plans=[plan.record() for plan in plans])
    if timed:
        record(folder, "time_layers", of_network, layer_times=times)
        network = Network.of(costs, times)
    for precision, goal in goals.items():
        own, place = experiment(precision, model), folder / precision
        reference = 0.98 if labelled else None
        known = [network.timed(plan) for plan in plans]
        search = Search(network, judge, IMAGES, reference, known)
        try:
            chosen = search.run(goal)
        except NoPlan as error:
            told = Failure(kind="refused", type="NoPlan", message=str(error))
            fail(results, own, told)
            continue
        report = {"search": dict(goal), "images": IMAGES, "float32_top1_accuracy": reference}
        record(place, "search", own, search_report=report | search.report(goal, chosen))
    return ours


def record(folder: Path, stage: str, of: Experiment, **artifacts) -> None:
    """Write the artifacts and the outcome of a stage that is ok."""
    paths = []
    for name, content in artifacts.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(content))
    outcome = Outcome(state="ok", stage=stage, experiment=of, artifacts=describe(paths))
    outcome.write(folder / f"{stage}.json")


def fail(results: Path, of: Experiment, failure: Failure, stage: str = "search") -> None:
    """Let a stage of a search have failed, and what follows be skipped."""
    folder = results / str(of)
    Outcome(state="failed", stage=stage, experiment=of, error=failure).write(
        folder / f"{stage}.json"
    )
    for later in STAGES[STAGES.index(stage) + 1 :]:
        Outcome(state="skipped", stage=later, experiment=of, skipped_by=stage).write(
            folder / f"{later}.json"
        )
    left = {"search": ["search_report.json"], "evaluate": ["quality.json"]}
    for name in left.get(stage, []):
        (folder / name).write_text("")


def summarise(results: Path, experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return the summary of such results."""
    stages = [
        [stage for stage in STAGES if stage in synthetic.stages(own) or _is_of(own, stage)]
        for own in experiments
    ]
    return collect(experiments, results, bits=synthetic.bits(experiments), stages=stages)


def searches(experiments: Sequence[Experiment]) -> list[Experiment]:
    return [own for own in experiments if own.precision in GOALS]


def _is_of(own: Experiment, stage: str) -> bool:
    return own.precision in GOALS and stage in ("costs", "frontier", "search")


def _leave_selection(folder: Path, of: Experiment, labelled: bool) -> None:
    """Write answers of which 98 % are right."""
    answers = np.zeros((IMAGES, CLASSES), np.float32)
    labels = np.arange(IMAGES) % CLASSES
    wrong = np.arange(IMAGES) < IMAGES * 0.02
    answers[np.arange(IMAGES), (labels + wrong) % CLASSES] = 5
    images = np.zeros((IMAGES, 1), np.float32)
    known = {"label": labels} if labelled else {}
    np.savez(folder / "selection.npz", input=images, output=answers, **known)
    paths = [folder / "model.json", folder / "selection.npz"]
    own = of.model_copy(update={"engine": None, "target": None, "precision": None})
    Outcome(state="ok", stage="trace", experiment=own, artifacts=describe(paths)).write(
        folder / "trace.json"
    )


def _costs(count: int, widths: Sequence[int], seed: int) -> dict:
    """Return layers as of a network that narrows: the first and the last are the touchy ones."""
    generator = np.random.default_rng(seed)
    layers = []
    for index in range(count):
        weights = int(2 ** generator.uniform(8, 15))
        touchy = generator.lognormal(0, 1) * (6 if index in (0, count - 1) else 1) / count
        layers.append(
            {
                "layer": f"layer{index // 6}.{index % 6}.conv" if index < count - 1 else "fc",
                "weights": weights,
                "macs": weights * 49,
                "bytes_float32": weights * 4,
                "candidates": [
                    {
                        "weight_bits": bits,
                        "input_bits": inputs,
                        "error": touchy * 1.6 * (4.0**-bits + 4.0**-inputs),
                        "bytes": weights * bits // 8 + 40,
                    }
                    for bits in (8, 4, 3, 2, 1)
                    for inputs in widths
                ],
            }
        )
    return {"images": 128, "layers": layers}


def _times(costs: Mapping) -> dict:
    """Return times to which unpacking fewer bits adds."""
    extra = {8: 1.0, 4: 1.1, 3: 1.25, 2: 0.9, 1: 0.8}
    return {
        "layers": {
            layer["layer"]: {
                str(bits): layer["macs"] * 1e-7 * factor for bits, factor in extra.items()
            }
            for layer in costs["layers"]
        },
        "rest_ms": 0.02,
    }


class _Judge:
    """Errors of layers add up, and to each other's; accuracy falls with them."""

    def __init__(self, network: Network, labelled: bool, seed: int):
        generator = np.random.default_rng(seed + 1)
        self.network, self.labelled = network, labelled
        factors = generator.lognormal(0, 0.4, len(network.layers))
        self.factors = dict(zip(network.layers, factors, strict=True))

    def __call__(self, layer_bits):
        chosen = self.network.choice(layer_bits)
        error = sum(self.factors[name] * c.error for name, c in chosen.items())
        error += 3 * error**2
        share = round(IMAGES * 0.98 * (0.1 + 0.9 * math.exp(-0.7 * error))) / IMAGES
        return {
            "error": error,
            "loss": 0.1 + error if self.labelled else None,
            "top1_accuracy": share if self.labelled else None,
            "top1_agreement": math.exp(-error),
            "images_gained": 0 if self.labelled else None,
            "images_lost": round(IMAGES * (0.98 - share)) if self.labelled else None,
        }
