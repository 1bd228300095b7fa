import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from bitsweep import digits


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_each_digit_is_in_one_split_whatever_the_seed(seed):
    splits = digits.splits(seed)
    assert {name: len(places) for name, places in splits.items()} == digits.SPLITS
    assert sorted(np.concatenate(list(splits.values()))) == list(range(1797))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_each_split_has_its_share_of_each_digit(seed):
    _, labels = digits.load()
    for places in digits.splits(seed).values():
        share = len(places) / len(labels) * np.bincount(labels)
        assert (np.abs(np.bincount(labels[places], minlength=10) - share) < 2).all()


def test_the_splits_are_the_same_unless_others_are_asked_for():
    one, again, other = digits.splits(), digits.splits(0), digits.splits(4)
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not any(np.array_equal(one[name], other[name]) for name in one)


def test_the_test_digits_are_three_tenths_drawn_by_a_seed_of_0():
    """What was told of accuracies before there were four splits is of the same digits."""
    labels = load_digits().target
    _, expected = train_test_split(range(1797), test_size=0.3, random_state=0, stratify=labels)
    assert digits.splits()["test"].tolist() == expected


def test_digits_are_images_from_0_to_1_with_their_labels():
    images, labels = digits.load()
    assert images.shape == (1797, 1, 8, 8)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    assert (images.min(), images.max()) == (0, 1)
    assert np.array_equal(images[:, 0] * 16, load_digits().images)
    assert np.array_equal(labels, load_digits().target)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 64, 48), (3, 5, 6)])
def test_digits_of_another_size_are_interpolated_linearly(shape):
    """Between the centres of pixels, as numpy does along each axis, and flat beyond the outer."""
    images, labels = digits.load(shape)
    assert images.shape == (1797, *shape)
    assert (images == images[:, :1]).all()
    assert np.array_equal(labels, digits.load()[1])
    rows, columns = ((np.arange(n) + 0.5) * 8 / n - 0.5 for n in shape[1:])
    for index in (0, 700):
        image = digits.load()[0][index, 0]
        wide = np.stack([np.interp(columns, range(8), row) for row in image])
        expected = np.stack([np.interp(rows, range(8), column) for column in wide.T], 1)
        np.testing.assert_allclose(images[index, 0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "shape"),
    [(digits.residual_network, (3, 1, 8, 8)), (digits.resnet50, (3, 3, 64, 64))],
)
def test_the_networks_answer_a_digit_with_ten_logits(network, shape):
    with torch.no_grad():
        assert network().eval()(torch.zeros(shape)).shape == (3, 10)
