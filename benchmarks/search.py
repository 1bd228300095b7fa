"""A search of bits per layer: what it costs, and what mixed bits gain over uniform ones.

    python benchmarks/search.py [MODEL [EPOCHS [PLANS]]]

Trains a model of config/config.yaml (digits) for so many epochs (the config's) and prints the
seconds of each part of a search; for the bytes of all layers at 4 bits, at 2, and for what lies in
the middle the loss on the selection images and the accuracy on the test images of the best mixed
plan and of the best uniform one; how many of so many random plans (10,000) within these bytes have
less predicted error than the integer program's; and the same two figures of the plan of the fewest
bytes within 0.5 points.
"""

import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import yaml
from tvm.relax.frontend.torch import from_exported_program

sys.path.insert(0, str(Path(__file__).parents[1]))

from bitsweep import config, data, metrics, models, training
from bitsweep.relax import layer_costs, observe
from bitsweep.relax.transform.annotate import input_groups
from bitsweep.relax.trial import Trial
from bitsweep.search.allocation import allocate, total
from bitsweep.search.frontier import explore
from bitsweep.search.plans import Network, Plan
from bitsweep.search.repair import Search

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
FEWEST = {"minimise": "bytes", "tolerance": 0.5, "bytes": None, "latency_ms": None}


def main(model: str = "digits", epochs: str = "", plans: str = "10_000") -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    loaded = config.load(yaml.safe_load(CONFIG.read_text()))
    settings, among = loaded.models[model], loaded.search
    if epochs:
        train = settings.train.model_copy(update={"epochs": int(epochs)})
        settings = settings.model_copy(update={"train": train})
    network, _ = training.train(settings)
    images = data.load(settings)
    example = torch.from_numpy(images.evaluation[:1].copy())
    module = from_exported_program(
        torch.export.export(network, (example,)), unwrap_unit_return_tuple=True
    )
    statistics = observe(module, images.calibration)
    chosen = config.QConfig(**{"skip_layers": among.settings.skip_layers})
    with timed("costs"):
        rows = layer_costs(
            module,
            chosen,
            among.weight_bits,
            among.input_bits,
            images.calibration,
            images.selection[: among.images],
            statistics=statistics,
        )

    def trial_on(selected, labels) -> Trial:
        with torch.no_grad():
            answers = models.answer(network, torch.from_numpy(selected)).numpy()
        return Trial(
            module, chosen, images.calibration, selected, answers, labels, statistics=statistics
        )

    trial = trial_on(images.selection, images.selection_labels)
    on_test = trial_on(images.evaluation, images.labels)
    groups = input_groups(trial.canonical, chosen)
    layers = Network.of({"layers": rows}, groups=groups)
    with timed("frontier"):
        tried = explore(layers, trial.judge)

    def accuracy(plan: Plan) -> float:
        return 100 * on_test.judge(plan.layer_bits)["top1_accuracy"]

    reference = metrics.compare(trial.answers, trial.answers, trial.labels)["top1_accuracy"]
    of_test = metrics.compare(on_test.answers, on_test.answers, on_test.labels)["top1_accuracy"]
    print(f"float32: selection {100 * reference:.2f} %, test {100 * of_test:.2f} %")
    print(f"{'':14} {'bytes':>12} {'bits':>6} {'loss':>8} {'selection':>10} {'test':>7}")

    def tell(what: str, plan: Plan) -> None:
        print(
            f"{what:14} {plan.bytes:12,} {plan.mean_weight_bits:6.2f} {plan.loss:8.4f} "
            f"{100 * plan.top1_accuracy:9.2f}% {accuracy(plan):6.2f}%",
            flush=True,
        )

    uniform = {plan.uniform: plan for plan in tried if plan.uniform}
    budgets = {4: uniform[4].bytes, 3: (uniform[4].bytes + uniform[2].bytes) // 2}
    for bits, budget in (budgets | {2: uniform[2].bytes}).items():
        wanted = {**FEWEST, "minimise": "error", "tolerance": None, "bytes": budget}
        search = Search(layers, trial.judge, len(images.selection), reference, list(tried))
        tell(f"mixed {bits}", search.run(wanted))
        within = [plan for plan in uniform.values() if plan.bytes <= budget]
        tell(f"uniform {bits}", min(within, key=lambda plan: plan.badness))
        better = random_plans(layers, budget, int(plans))
        print(f"of {plans} random plans {better} have less predicted error")
    search = Search(layers, trial.judge, len(images.selection), reference, list(tried))
    with timed("search"):
        fewest = search.run(FEWEST)
    tell("fewest bytes", fewest)
    tell("uniform", Plan.read(search.report(FEWEST, fewest)["uniform"]))


@contextmanager
def timed(what: str):
    start, cpu = time.monotonic(), time.process_time()
    yield
    wall, used = time.monotonic() - start, time.process_time() - cpu
    print(f"{what}: {wall:.1f} s, {used:.1f} s of CPU", flush=True)


def random_plans(network: Network, budget: int, count: int) -> int:
    """How many random plans within the bytes have less predicted error than the program's."""
    best = total(allocate(network.layers, "error", {"bytes": budget}, network.groups), "error")
    random, found, better = np.random.default_rng(0), 0, 0
    candidates = list(network.layers.values())
    while found < count:
        # Plans of few bits and plans of many, so that some are near the budget.
        share = random.dirichlet(np.ones(max(map(len, candidates))))
        drawn = [
            own[random.choice(len(own), p=share[: len(own)] / share[: len(own)].sum())]
            for own in candidates
        ]
        if sum(candidate.bytes for candidate in drawn) <= budget:
            found += 1
            better += sum(candidate.error for candidate in drawn) < best * (1 - 1e-9)
    return better


if __name__ == "__main__":
    main(*sys.argv[1:])
