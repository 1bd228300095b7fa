"""Trying plans: what quantizing with their bits comes to, in a network compiled once."""

import dataclasses

import numpy as np
import pytest

from bitsweep import metrics
from bitsweep.relax import PRESETS, QConfig, graph, op, quantize
from bitsweep.relax.trial import Trial
from tests.unit.relax import torch_networks
from tests.unit.relax.compiled import outputs

NEAREST = QConfig(rounding="nearest")


def layers(mod):
    bindings = graph.bindings(mod["main"])
    return [b.value.attrs["name"] for b in bindings if op.is_call(b.value, "bitsweep.conv2d")]


def agree(ours, theirs):
    """Simulated answers and integers' differ by how requantization settles halves, at most."""
    assert metrics.sqnr_db(ours, theirs) > 35


def test_a_plan_answers_as_the_network_quantized_with_its_bits(trained, imported, split, target):
    images = split["held_out"][:40]
    labels = split["held_out_labels"][:40]
    answers = torch_networks.answers(trained, images)
    seen = split["train"][:16]
    trial = Trial(imported, PRESETS["w4a8"], seen, images, answers, labels, target)
    names = layers(trial.annotated)
    mixed = {name: (2 + index % 3, 8) for index, name in enumerate(names)}
    for plan in ({}, mixed, dict.fromkeys(names, (1, 4)), {}):
        config = dataclasses.replace(PRESETS["w4a8"], layer_bits=plan)
        integers = outputs(quantize(imported, config, seen, target), images, target)
        agree(trial.answer(plan), integers)
    judged = trial.judge(mixed)
    ours = trial.answer(mixed)
    assert judged["error"] == metrics.kl_divergence(ours, answers)
    assert judged["loss"] == metrics.cross_entropy(ours, labels)
    assert judged["top1_accuracy"] == (ours.argmax(axis=1) == labels).mean()


def test_a_network_of_everything_that_mobile_ones_have(target):
    network, images = torch_networks.mobile()
    answers = torch_networks.answers(network, images)
    mod = torch_networks.imported(network, images)
    trial = Trial(mod, NEAREST, images, images, answers, None, target)
    mixed = {layers(trial.annotated)[0]: (3, 8)}
    config = dataclasses.replace(NEAREST, layer_bits=mixed)
    agree(trial.answer(mixed), outputs(quantize(mod, config, images, target), images, target))
    judged = trial.judge(mixed)
    assert judged["loss"] is judged["top1_accuracy"] is None
    assert judged["error"] > 0


def test_a_misspelled_layer_is_refused(target):
    network, images = torch_networks.mobile()
    answers = torch_networks.answers(network, images)
    mod = torch_networks.imported(network, images)
    trial = Trial(mod, NEAREST, images, images, answers, None, target)
    with pytest.raises(ValueError, match="no layer is called 'conv2'"):
        trial.judge({"conv2": (3, 8)})


def test_the_divergence_of_equal_answers_is_nothing():
    answers = np.random.default_rng(0).normal(size=(9, 5))
    assert metrics.kl_divergence(answers, answers) == 0
