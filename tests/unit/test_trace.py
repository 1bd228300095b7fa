import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bitsweep import digits
from bitsweep.config import Model
from bitsweep.errors import UserError
from bitsweep.trace import trace

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

HERE = "tests.unit.test_trace"
SHAPE = (3, 16, 16)
NAMES = {
    "torchscript": "torchscript.pt",
    "exported": "exported.pt2",
    "calibration": "calibration.npz",
    "selection": "selection.npz",
    "reference": "reference.npz",
    "description": "model.json",
}


def small(classes=5):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )


def small_for_one():
    return small(classes=1)


def overflowing():
    network = small()
    nn.init.constant_(network[-1].bias, float("inf"))
    return network


def averaging():
    network = small()
    network[1] = nn.BatchNorm2d(4, track_running_stats=False)
    return network


class AlwaysDropout(nn.Module):
    def forward(self, values):
        return nn.functional.dropout(values, training=True)


def dropping():
    network = small()
    network[3] = AlwaysDropout()
    return network


def deaf():
    network = small()
    nn.init.zeros_(network[0].weight)
    return network


class Branching(nn.Module):
    """A network whose path its input decides, which `torch.export` cannot follow."""

    def forward(self, images):
        means = images.mean((2, 3))
        return means if images.sum() > -1e9 else means + 1


def branching():
    return Branching()


def digits_of_nine():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9))


def digits_of_ten():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def settings(**more):
    return Model.model_validate(
        {
            "factory": f"{HERE}:small",
            "data": "random",
            "input_shape": SHAPE,
            "images": 20,
            "calibration_images": 4,
            "selection_images": 6,
        }
        | more
    )


def traced(folder, **more):
    outputs = {name: str(folder / file) for name, file in NAMES.items()}
    trace("net", settings(**more), outputs)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return traced(tmp_path_factory.mktemp("traced"))


def test_there_are_images_and_an_answer_to_each(folder):
    reference = np.load(folder / "reference.npz")
    assert {key: reference[key].shape for key in reference} == {
        "input": (20, *SHAPE),
        "output": (20, 5),
    }
    assert reference["output"].dtype == np.float32
    assert np.load(folder / "calibration.npz")["input"].shape == (4, *SHAPE)


def test_the_images_that_a_search_may_look_at_have_the_references_form(folder, tmp_path):
    """Labels are those of the digits that are named, and answers those of the network."""
    selection = np.load(folder / "selection.npz")
    assert {key: selection[key].shape for key in selection} == {
        "input": (6, *SHAPE),
        "output": (6, 5),
    }
    network = saved_network(folder, "torchscript")
    with torch.no_grad():
        answers = [network(torch.from_numpy(image[None]))[0] for image in selection["input"]]
    np.testing.assert_allclose(torch.stack(answers), selection["output"], rtol=1e-5, atol=1e-6)
    traced(tmp_path, factory=f"{HERE}:digits_of_ten", **DIGITS)
    images, labels = digits.load()
    splits = json.loads((tmp_path / "model.json").read_text())["splits"]
    for name, split in (("selection", "selection"), ("reference", "test")):
        file = np.load(tmp_path / f"{name}.npz")
        np.testing.assert_array_equal(file["input"], images[splits[split]])
        np.testing.assert_array_equal(file["label"], labels[splits[split]])


def saved_network(folder, kind):
    if kind == "torchscript":
        return torch.jit.load(folder / "torchscript.pt")
    return torch.export.load(folder / "exported.pt2").module()


@pytest.mark.parametrize("kind", ["torchscript", "exported"])
def test_what_is_saved_gives_the_reference_answers_an_image_at_a_time(folder, kind):
    network, reference = saved_network(folder, kind), np.load(folder / "reference.npz")
    with torch.no_grad():
        answers = [network(torch.from_numpy(image[None]))[0] for image in reference["input"]]
    np.testing.assert_allclose(torch.stack(answers), reference["output"], rtol=1e-5, atol=1e-6)
    assert np.ptp(reference["output"], axis=0).min() > 0.01


def test_the_description_says_what_the_model_is(folder):
    assert json.loads((folder / "model.json").read_text()) == {
        "model": "net",
        "factory": f"{HERE}:small",
        "weights": "seeded",
        "trained": False,
        "parameters": 4 * 3 * 9 + 2 * 4 + 4 * 5 + 5,
        "input_shape": [3, 16, 16],
        "classes": 5,
        "images": 20,
        "labelled": False,
        "class_indices": None,
        "data": "random",
        "splits": {
            "calibration": list(range(4)),
            "test": list(range(4, 24)),
            "selection": list(range(24, 30)),
        },
    }


def test_the_program_does_not_carry_the_images_along(folder, tmp_path):
    more = traced(tmp_path, images=120)
    sizes = [(where / "exported.pt2").stat().st_size for where in (folder, more)]
    assert abs(sizes[1] - sizes[0]) < 4 * np.prod(SHAPE)


def test_a_model_with_a_checkpoint_counts_as_trained(tmp_path):
    weights = tmp_path / "weights.pt"
    torch.save(small().state_dict(), weights)
    description = json.loads((traced(tmp_path, weights=str(weights)) / "model.json").read_text())
    assert description["trained"]
    assert description["weights"] == str(weights)


DIGITS = {"data": "digits", "input_shape": (1, 8, 8), "images": 100}


def test_labels_go_with_the_reference(tmp_path):
    traced(tmp_path, factory=f"{HERE}:digits_of_ten", **DIGITS)
    reference = np.load(tmp_path / "reference.npz")
    assert reference["label"].shape == (100,)
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["labelled"]
    assert description["class_indices"] == {str(digit): digit for digit in range(10)}


def channels_of_imagenet():
    """Answers 1,000 classes with 3 numbers of the image, those of three classes far apart."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))
    with torch.no_grad():
        network[-1].weight.zero_()
        network[-1].bias.fill_(-100)
        for channel, index in enumerate((0, 217, 999)):
            network[-1].weight[index, channel] = 1
            network[-1].bias[index] = 0
    return network


def test_a_subset_of_imagenet_is_scored_by_the_indices_of_its_classes(tmp_path):
    """Three folders of images, each of the colour that its class's output looks for."""
    for wnid, colour in (("n15075141", "blue"), ("n01440764", "red"), ("n02102040", "lime")):
        (tmp_path / "data" / wnid).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (16, 16), colour).save(tmp_path / "data" / wnid / f"{index}.png")
    more = {"data": str(tmp_path / "data"), "images": 8, "calibration_images": 2}
    more |= {"selection_images": 2}
    traced(tmp_path, factory=f"{HERE}:channels_of_imagenet", **more)
    reference = np.load(tmp_path / "reference.npz")
    assert set(reference["label"]) == {0, 217, 999}
    np.testing.assert_array_equal(reference["output"].argmax(1), reference["label"])
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["class_indices"] == {"n01440764": 0, "n02102040": 217, "n15075141": 999}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"factory": f"{HERE}:overflowing"}, "model net: PyTorch's own answers are not finite"),
        (
            {"factory": f"{HERE}:digits_of_nine", **DIGITS},
            "data digits has 10 classes and the network 9 outputs: a class for each is wanted",
        ),
        ({"input_shape": (2, 16, 16)}, "the network does not take inputs of shape (2, 16, 16): "),
        (
            {"factory": f"{HERE}:averaging"},
            "the network's answer to an image depends on the images",
        ),
        ({"factory": f"{HERE}:dropping"}, "the network answers an image differently each time"),
        ({"factory": f"{HERE}:deaf"}, "model net: PyTorch's own answer is the same to every image"),
        (
            {"factory": f"{HERE}:deaf", "images": 1, "calibration_images": 2},
            "model net: PyTorch's own answer is the same to every image",
        ),
        ({"factory": f"{HERE}:small_for_one"}, "the network is no classifier: it has one output"),
        (
            {"factory": f"{HERE}:branching"},
            "the network cannot be traced by torch.export.export: GuardOnDataDependent",
        ),
        ({"factory": "torch.nn:Identity"}, "the network is no classifier"),
    ],
)
def test_what_cannot_be_traced_is_said_in_a_sentence(tmp_path, more, said):
    with pytest.raises(UserError) as caught:
        traced(tmp_path, **more)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert not list(Path(tmp_path).glob("*.npz"))
