import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep import labels, models
from bitsweep.config import Model
from bitsweep.errors import UserError

CATEGORIES = ("tench", "great white shark", "crane", "crane bird")


def refusal(*arguments):
    with pytest.raises(UserError) as caught:
        labels.indices("my data", *arguments)
    return str(caught.value)


def test_imagenet_has_the_classes_of_torchvisions_weights_in_their_order():
    """Of a few that are known by heart; IDs ascend, as the classes do."""
    names = models.categories(Model(factory="resnet50", weights="IMAGENET1K_V2"))
    assert len(names) == len(labels.IMAGENET) == len(set(labels.IMAGENET)) == 1000
    assert list(labels.IMAGENET) == sorted(labels.IMAGENET)
    found = dict(zip(labels.IMAGENET, names, strict=True))
    assert found["n01440764"] == "tench"
    assert found["n02102040"] == "English springer"
    assert found["n03000684"] == "chain saw"
    assert found["n03445777"] == "golf ball"
    assert found["n15075141"] == "toilet tissue"


@given(st.lists(st.integers(0, 10**6), unique=True), st.text(max_size=3))
def test_numbers_are_sorted_as_numbers_whatever_stands_before_them(numbers, prefix):
    prefix = prefix.rstrip("0123456789") if not prefix[-1:].isdecimal() else "x"
    names = [f"{prefix}{number}" for number in numbers]
    assert sorted(names, key=labels.natural) == [f"{prefix}{n}" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=6), unique=True))
def test_any_names_have_one_order(names):
    ordered = sorted(names, key=labels.natural)
    assert ordered == sorted(reversed(names), key=labels.natural)


def test_a_subset_is_known_by_the_names_of_the_weights():
    classes = ("crane_bird", "great white shark")
    assert labels.indices("d", classes, 4, CATEGORIES) == {"crane_bird": 3, "great white shark": 1}


@given(st.sets(st.integers(0, 999), min_size=1))
def test_a_subset_of_imagenet_is_known_by_its_wordnet_ids(chosen):
    expected = {labels.IMAGENET[index]: index for index in chosen}
    assert labels.indices("d", tuple(expected), 1000, None) == expected


def test_wordnet_ids_are_mere_names_to_a_network_of_fewer_outputs():
    assert labels.indices("d", ("n02102040", "n03000684"), 2, None) == {
        "n02102040": 0,
        "n03000684": 1,
    }


@pytest.mark.parametrize("categories", [None, CATEGORIES])
def test_numbered_classes_are_all_there_in_order(categories):
    assert labels.indices("d", ("1", "2", "3", "4"), 4, categories) == {
        "1": 0,
        "2": 1,
        "3": 2,
        "4": 3,
    }


def test_what_is_none_of_the_weights_classes_is_told_with_what_is_near():
    assert refusal(("tench", "great_white_sharks", "crane", "x"), 4, CATEGORIES) == (
        "data my data: 'great_white_sharks' is none of the 4 classes that the weights tell apart; "
        "did you mean 'great white shark'?"
    )


@pytest.mark.parametrize("categories", [None, CATEGORIES])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_classes_that_are_not_as_many_as_the_outputs_are_refused(count, categories):
    assert refusal(tuple(map(str, range(count))), 4, categories) == (
        f"data my data has {count} classes and the network 4 outputs: a class for each is wanted"
    )


def test_where_the_outputs_are_imagenets_its_ids_are_told_of():
    assert refusal(("cat", "dog"), 1000, None).endswith("named by WordNet ID, as n01440764")
