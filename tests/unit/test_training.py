import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from bitsweep import data, digits, training
from bitsweep.config import Model
from bitsweep.errors import UserError

HERE = "tests.unit.test_training"


def settings(**train):
    return Model(
        factory="bitsweep.digits:residual_network",
        data="digits",
        input_shape=(1, 8, 8),
        images=540,
        selection_images=240,
        train={"epochs": 1, **train},
    )


def two_classes():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))


def state(network):
    return network.state_dict().values()


def test_training_sees_the_training_digits_only_whatever_the_seed(monkeypatch):
    seen, shifted = set(), training._shifted

    def noted(batch):
        seen.update(image.tobytes() for image in batch.numpy())
        return shifted(batch)

    monkeypatch.setattr(training, "_shifted", noted)
    training.train(settings(seed=3))
    images, _ = digits.load()
    assert len(seen) == 921 // 32 * 32
    assert seen <= {images[place].tobytes() for place in digits.splits()["training"]}


def test_training_is_deterministic_for_a_seed_whatever_the_threads():
    before = torch.get_num_threads()
    networks, tables = [], []
    for seed, threads in ((5, 1), (5, 2), (6, 2)):
        torch.set_num_threads(threads)
        network, epochs = training.train(settings(seed=seed))
        assert torch.get_num_threads() == threads
        networks.append(network)
        tables.append([epoch[:3] for epoch in epochs])
    torch.set_num_threads(before)
    one, again, other = networks
    assert all(map(torch.equal, state(one), state(again)))
    assert not all(map(torch.equal, state(one), state(other)))
    assert tables[0] == tables[1] != tables[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, told = tmp_path_factory.mktemp("trained"), []
    training.write(
        "net",
        settings(epochs=40),
        weights=folder / "weights.pt",
        record=folder / "training.json",
        table=folder / "training.csv",
        tell=told.append,
    )
    return folder, told


def test_the_test_digits_are_read(trained):
    network = digits.residual_network()
    network.load_state_dict(torch.load(trained[0] / "weights.pt", weights_only=True))
    images = data.load(settings())
    with torch.no_grad():
        right = {
            name: float(
                (network.eval()(torch.from_numpy(array)).argmax(1).numpy() == of_each).mean()
            )
            for name, array, of_each in (
                ("test", images.evaluation, images.labels),
                ("selection", images.selection, images.selection_labels),
            )
        }
    record = json.loads((trained[0] / "training.json").read_text())
    assert record["selection_top1_accuracy"] == pytest.approx(right["selection"])
    assert record["images"] == 921
    assert record["train"]["epochs"] == 40
    assert right["test"] >= 0.985


def test_an_epoch_has_a_row_and_a_line(trained):
    folder, told = trained
    with (folder / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 41))
    loss, accuracy = (
        [float(row[key]) for row in rows] for key in ("loss", "selection_top1_accuracy")
    )
    assert loss[-1] < 0.5 < 1 < loss[0]
    assert accuracy[-1] > 0.95
    record = json.loads((folder / "training.json").read_text())
    assert (record["loss"], record["selection_top1_accuracy"]) == (loss[-1], accuracy[-1])
    assert sum(float(row["seconds"]) for row in rows) == pytest.approx(record["seconds"])
    assert len(told) == 40
    assert told[-1].startswith(
        f"net: epoch 40/40: loss {loss[-1]:.3f}, {100 * accuracy[-1]:.1f} % of 240 selection images"
    )


def test_nothing_but_what_is_declared_is_left(trained):
    left = {path.name for path in trained[0].iterdir()}
    assert left == {"weights.pt", "training.json", "training.csv"}


@pytest.fixture
def folder(tmp_path):
    """Red images and blue ones, whose classes' names are not in the order of the outputs."""
    for name, colour in (("10", "blue"), ("2", "red")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(20):
            Image.new("RGB", (12, 10), colour).save(tmp_path / "data" / name / f"{index}.png")
    return Model(
        factory=f"{HERE}:two_classes",
        data=str(tmp_path / "data"),
        input_shape=(3, 8, 8),
        images=8,
        calibration_images=2,
        selection_images=8,
        train={"epochs": 10, "batch": 4},
    )


def test_a_folder_of_images_is_learnt(folder):
    network, epochs = training.train(folder)
    assert epochs[-1].selection_top1_accuracy == 1
    images = data.load(folder)
    with torch.no_grad():
        answers = network(torch.from_numpy(images.evaluation)).argmax(1).numpy()
    assert images.classes == ("2", "10")
    assert np.array_equal(answers, images.labels)
    assert set(images.labels) == {0, 1}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"factory": "bitsweep.digits:resnet50"}, "2 classes and the network 10 outputs"),
        ({"input_shape": (3, 8, 8), "factory": f"{HERE}:flat"}, "does not take inputs of shape"),
        (
            {
                "factory": f"{HERE}:two_layers",
                "train": {"epochs": 1, "batch": 4, "learning_rate": 1e30},
            },
            r"the loss of epoch 1 is not finite; train\.learning_rate = 1e\+30 is too large",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_sentence(folder, more, said):
    model = Model.model_validate(folder.model_dump(mode="json") | more)
    with pytest.raises(UserError, match=said):
        training.train(model)


def two_layers():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Linear(8, 2))


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(3, 2))


@hypothesis_settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([8, 16, 33]))
def test_a_shift_moves_an_image_by_at_most_an_eighth(seed, size):
    torch.manual_seed(seed)
    images = torch.zeros(2, 1, size, size + 8)
    images[:, :, size // 2, size // 2] = 1
    shifted = training._shifted(images)
    assert shifted.shape == images.shape
    for _, _, row, column in shifted.nonzero().tolist():
        assert abs(row - size // 2) <= size // 8
        assert abs(column - size // 2) <= (size + 8) // 8
    assert shifted.sum() == 2


def test_images_of_a_batch_are_shifted_apart_in_all_directions_and_none_comes_back():
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 8, 8)
    images[..., 0] = 1
    shifted = training._shifted(images)
    assert shifted[..., 2:].sum() == 0
    assert {image.sum(1)[0].argmax().item() for image in shifted if image.any()} == {0, 1}
    assert any(not image.any() for image in shifted)


def test_bfloat16_is_for_cpus_with_instructions_for_it():
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    assert training.multiplies_bfloat16() == bool({"avx512_bf16", "amx_bf16"} & set(flags))
