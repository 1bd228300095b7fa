import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsweep import digits


def rows(images):
    return {image.tobytes() for image in images}


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_no_held_out_digit_is_trained_on_whatever_the_seed(seed):
    split = digits.images(seed)
    assert len(split["train"]) + len(split["held_out"]) == 1797
    assert not rows(split["train"]) & rows(split["held_out"])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_three_tenths_of_each_digit_are_held_out(seed):
    split = digits.images(seed)
    held_out, train = (
        np.bincount(split[f"{k}_labels"], minlength=10) for k in ("held_out", "train")
    )
    assert held_out.sum() == 540
    assert (np.abs(held_out - 0.3 * (held_out + train)) < 1).all()


def test_digits_are_images_from_0_to_1_with_their_labels():
    split = digits.images(0)
    for part in ("train", "held_out"):
        images, labels = split[part], split[f"{part}_labels"]
        assert images.shape == (len(labels), 1, 8, 8)
        assert (images.dtype, labels.dtype) == (np.float32, np.int64)
        assert (images.min(), images.max()) == (0, 1)


def test_the_split_is_one_unless_another_is_asked_for():
    one, again, other = digits.images(), digits.images(0), digits.images(4)
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert not np.array_equal(one["train"], other["train"])


def test_the_network_answers_a_digit_with_ten_logits():
    assert digits.residual_network().eval()(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def test_training_takes_the_same_digits_whatever_its_seed(monkeypatch):
    seen, shifted = set(), digits._shifted

    def noted(batch):
        seen.update(rows(batch.numpy()))
        return shifted(batch)

    monkeypatch.setattr(digits, "_shifted", noted)
    digits.train(3, epochs=1)
    assert len(seen) > 1000
    assert seen <= rows(digits.images()["train"])


def test_training_is_deterministic_for_a_seed():
    (one, accuracy), (again, same), (other, _) = (
        digits.train(seed, epochs=1) for seed in (5, 5, 6)
    )
    assert accuracy == same
    one, again, other = (network.state_dict() for network in (one, again, other))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["0.weight"], other["0.weight"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    digits.write(0, folder / "weights.pt", folder / "training.json")
    return folder


def test_held_out_digits_are_read_as_the_record_says(trained):
    record = json.loads((trained / "training.json").read_text())
    network = digits.residual_network()
    network.load_state_dict(torch.load(trained / "weights.pt", weights_only=True))
    split = digits.images()
    with torch.no_grad():
        answers = network.eval()(torch.from_numpy(split["held_out"])).argmax(1).numpy()
    assert record["seed"] == 0
    assert record["held_out_top1_accuracy"] == (answers == split["held_out_labels"]).mean()
    assert record["held_out_top1_accuracy"] >= 0.98


def test_nothing_but_weights_and_record_is_left(trained):
    assert {path.name for path in trained.iterdir()} == {"weights.pt", "training.json"}


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_a_shift_moves_a_batch_by_at_most_a_pixel(seed):
    torch.manual_seed(seed)
    batch = torch.zeros(2, 1, 8, 8)
    batch[:, :, 3, 4] = 1
    shifted = digits._shifted(batch)
    ((_, _, down, right),) = shifted[:1].nonzero().tolist()
    assert abs(down - 3) <= 1
    assert abs(right - 4) <= 1
    assert torch.equal(shifted[0], shifted[1])


def test_what_is_shifted_out_does_not_come_back_on_the_other_side():
    torch.manual_seed(0)
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 0] = 1
    for _ in range(20):
        assert digits._shifted(edge)[..., 2:].sum() == 0
