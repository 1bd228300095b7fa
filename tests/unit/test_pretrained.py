"""`config/pretrained.yaml`, with a state dict and a folder of images that are made here."""

import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from snakemake.utils import update_config

from bitsweep import config, foresight, models
from bitsweep.errors import UserError
from bitsweep.labels import IMAGENET
from bitsweep.trace import trace

FOLDER = Path(__file__).parents[2] / "config"
CLASSES = (0, 217, 999)
OUTPUTS = {
    "torchscript": "torchscript.pt",
    "exported": "exported.pt2",
    "calibration": "calibration.npz",
    "selection": "selection.npz",
    "reference": "reference.npz",
    "description": "model.json",
}


def pretrained(**more):
    """The settings of the one model, which are looked through as before a run."""
    raw = yaml.safe_load((FOLDER / "config.yaml").read_text())
    update_config(raw, yaml.safe_load((FOLDER / "pretrained.yaml").read_text()))
    update_config(raw, {"models": {"resnet50_imagenet": more}})
    loaded = config.load(raw)
    foresight.check(loaded)
    [name] = loaded.sweep.models
    return loaded.models[name]


def test_a_state_dict_answers_the_images_of_a_folder(tmp_path):
    torch.manual_seed(0)
    network = models.torchvision().models.resnet50(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    generator = np.random.default_rng(0)
    for index in CLASSES:
        (tmp_path / "imagenet" / IMAGENET[index]).mkdir(parents=True)
        for number in range(4):
            pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            file = tmp_path / "imagenet" / IMAGENET[index] / f"{number}.JPEG"
            Image.fromarray(pixels).save(file)
    counts = {"images": 7, "calibration_images": 2, "selection_images": 3}
    settings = pretrained(
        weights=str(tmp_path / "resnet50.pth"),
        data=str(tmp_path / "imagenet"),
        input_shape=[3, 32, 32],
        **counts,
    )
    outputs = {key: str(tmp_path / name) for key, name in OUTPUTS.items()}
    trace("resnet50_imagenet", settings, outputs)
    description = json.loads((tmp_path / "model.json").read_text())
    assert (description["trained"], description["labelled"]) == (True, True)
    for name, split in (("reference", "test"), ("selection", "selection")):
        file = np.load(outputs[name])
        of_each = [
            IMAGENET.index(image.partition("/")[0]) for image in description["splits"][split]
        ]
        assert file["label"].tolist() == of_each
        with torch.no_grad():
            answers = network(torch.from_numpy(file["input"])).numpy()
        np.testing.assert_allclose(file["output"], answers, atol=1e-4 * np.abs(answers).max())
    images = [image for split in description["splits"].values() for image in split]
    assert len(images) == len(set(images)) == sum(counts.values())


def test_without_a_network_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "_opener", None)  # which knows the proxies of before
    with pytest.raises(UserError) as caught:
        models.download(pretrained(), tmp_path / "download.json")
    said = str(caught.value)
    assert said.startswith("weights IMAGENET1K_V2 of resnet50 could not be downloaded (URLError: ")
    assert said.endswith("; offline, use `weights: seeded` or the path of a checkpoint")
    assert "\n" not in said
    assert not (tmp_path / "download.json").exists()
