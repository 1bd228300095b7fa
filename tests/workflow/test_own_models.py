"""Models, weights and images of the user's own, good ones and bad ones."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.workflow.checkout import Checkout

NETWORKS = '''
from torch import nn

def brightness():
    """Two classes, dark and bright."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    )
'''
SHAPE = [3, 16, 16]
FOLDER = "own images; touch pwned $(touch pwned)"
PHOTO = "my photo; touch pwned.png"
OWN = {
    "factory": "own_networks:brightness",
    "weights": "check points/own.pt",
    "data": FOLDER,
    "input_shape": SHAPE,
    "images": 8,
    "calibration_images": 2,
    "selection_images": 2,
}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A copy with own networks, a checkpoint that solves its images, a cut one, and images."""
    checkout = Checkout.of_the_repository(tmp_path_factory.mktemp("own") / "bit sweep")
    checkout.path("own_networks.py").write_text(NETWORKS)
    checkout.path("own_exit.py").write_text("raise SystemExit(0)")
    weights = checkout.path("check points")
    weights.mkdir()
    torch.save(solving_state(), weights / "own.pt")
    (weights / "cut.pt").write_bytes((weights / "own.pt").read_bytes()[:-200])
    generator = np.random.default_rng(0)
    for label, level in (("0 dark", 40), ("1 bright", 200)):
        folder = checkout.path(FOLDER) / label
        folder.mkdir(parents=True)
        for index in range(6):
            pixels = generator.integers(level - 30, level + 30, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    Image.fromarray(pixels).save(checkout.path(PHOTO))
    return checkout


def solving_state():
    """Weights with which the network tells bright images from dark ones."""
    layers = {"0": nn.Conv2d(3, 4, 3, padding=1), "4": nn.Linear(4, 2)}
    state = {
        f"{i}.{n}": p.detach() for i, layer in layers.items() for n, p in layer.state_dict().items()
    }
    state["0.weight"].fill_(1 / 27)
    state["0.bias"].zero_()
    state["4.weight"].copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
    state["4.bias"].copy_(torch.tensor([0.5, -0.5]))
    return state


def test_an_own_model_is_evaluated_on_own_images(own):
    config = {"models": {"own": OWN}, "sweep": {"models": ["own"], "precisions": ["float32"]}}
    own.done("results/own/relay/cpu/float32/evaluate.json", config=config)
    quality = json.loads(own.path("results/own/relay/cpu/float32/quality.json").read_text())
    assert (quality["images"], quality["top1_accuracy"], quality["top1_agreement"]) == (8, 1, 1)
    assert quality["exact"] or quality["sqnr_db"] > 80
    description = json.loads(own.path("results/own/model.json").read_text())
    assert (description["labelled"], description["trained"]) == (True, True)
    assert not list(own.folder.rglob("pwned"))


def test_edits_of_own_code_and_images_are_seen(own):
    target = "results/own/trace.json"
    config = {"models": {"own": OWN}, "sweep": {"models": ["own"], "precisions": ["float32"]}}
    own.done(target, config=config)
    image = own.path(f"{FOLDER}/0 dark/1.png")
    for path, edited, is_seen in (
        (own.path("own_networks.py"), NETWORKS.replace("Two classes", "2 classes"), False),
        (own.path("own_networks.py"), NETWORKS.replace("Conv2d(3, 4, 3", "Conv2d(3, 8, 3"), True),
        (image, "another one", True),
        (image.with_name("2 more.png"), "one more", True),
    ):
        before = (path.read_bytes(), path.stat().st_mtime_ns) if path.exists() else None
        path.write_text(edited)
        stale = own.stale("--", target, config=config)
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before[0])
            os.utime(path, ns=(before[1], before[1]))
        assert stale == ({"trace own"} if is_seen else set()), path
    assert own.stale("--", target, config=config) == set()


def test_what_cannot_be_used_is_said_in_a_sentence_each(own):
    """One of code, one of a file, one of the network: what else there is, unit tests know."""
    resnet = {
        "factory": "resnet18",
        "input_shape": [3, 32, 32],
        "images": 1,
        "calibration_images": 1,
    }
    sentences = {
        "cut": ({**OWN, "weights": "check points/cut.pt"}, "checkpoint check points/cut.pt cannot"),
        "exit": (
            {**resnet, "factory": "own_exit:network"},
            "factory 'own_exit:network' cannot be imported: SystemExit: 0",
        ),
        "offline": (
            {**resnet, "weights": "IMAGENET1K_V1"},
            "weights IMAGENET1K_V1 of resnet18 could not be downloaded",
        ),
    }
    good = {**OWN, "factory": "own_networks:brightness", "data": PHOTO}
    models = {"good": good} | {name: model for name, (model, _) in sentences.items()}
    nowhere = "http://127.0.0.1:9"
    ended = own.run(
        "--keep-going",
        *(f"results/{name}/trace.json" for name in models),
        config={"models": models, "sweep": {"models": list(models)}},
        TORCH_HOME=str(own.path("torch home")),
        http_proxy=nowhere,
        https_proxy=nowhere,
        all_proxy=nowhere,
        no_proxy="",
    )
    assert ended.returncode != 0
    told = ended.errors()
    assert len(told) == len(sentences), ended.output
    for name, (_, sentence) in sentences.items():
        assert [line for line in told if sentence in line], sentence
        assert not own.path(f"results/{name}/trace.json").exists()
    assert "Traceback" not in ended.output
    assert own.outcome("good/trace").state == "ok"
    assert not list(own.folder.rglob("pwned"))
