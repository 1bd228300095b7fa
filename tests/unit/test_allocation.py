"""The allocation against exhaustive search, against chance, and by its laws."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitsweep.search.allocation import Candidate, Infeasible, allocate, total

ERRORS = st.one_of(st.just(0.0), st.floats(1e-7, 10.0))


@st.composite
def networks(draw, most_layers=5, widths=((8, 8), (4, 8), (2, 8), (1, 8))):
    """Layers of a few candidates each, of any costs."""
    return {
        f"layer_{index}": [
            Candidate(*bits, draw(ERRORS), draw(st.integers(1, 10**6)), draw(st.floats(0.001, 5)))
            for bits in widths
        ]
        for index in range(draw(st.integers(1, most_layers)))
    }


def network(layers, seed=0):
    """A network of so many layers, of sizes and sensitivities as networks have them."""
    generator = np.random.default_rng(seed)
    made = {}
    for index in range(layers):
        weights, sensitivity = generator.lognormal(10, 1.5), generator.lognormal(-6, 2)
        made[f"layer_{index}"] = [
            Candidate(bits, 8, sensitivity * 4.0**-bits, int(weights * bits / 8) + 64, bits / 100)
            for bits in (8, 4, 3, 2, 1)
        ]
    return made


def plans(layers, groups=()):
    """All choices in which the layers of a group agree on input bits."""
    for chosen in itertools.product(*layers.values()):
        choice = dict(zip(layers, chosen, strict=True))
        if all(len({choice[name].input_bits for name in group}) == 1 for group in groups):
            yield choice


def least(layers, minimise, at_most, groups=()):
    """The least that any plan within the bounds has, by trying all."""
    return min(
        (
            total(choice, minimise)
            for choice in plans(layers, groups)
            if all(total(choice, name) <= bound for name, bound in at_most.items())
        ),
        default=None,
    )


def nearly(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("minimise", "bounded"),
    [
        ("error", ("bytes",)),
        ("error", ("latency_ms",)),
        ("error", ("bytes", "latency_ms")),
        ("bytes", ("error",)),
        ("latency_ms", ("error",)),
    ],
)
@given(layers=networks(), within=st.floats(0, 1))
def test_no_plan_is_better(minimise, bounded, layers, within):
    at_most = {}
    for name in bounded:
        ends = [
            sum(f(getattr(c, name) for c in own) for own in layers.values()) for f in (min, max)
        ]
        at_most[name] = ends[0] + within * (ends[1] - ends[0])
    expected = least(layers, minimise, at_most)
    if expected is None:
        with pytest.raises(Infeasible):
            allocate(layers, minimise, at_most)
        return
    choice = allocate(layers, minimise, at_most)
    assert all(total(choice, name) <= bound for name, bound in at_most.items())
    # What is left is the solver's resolution, of the largest sum that there is.
    largest = sum(max(getattr(c, minimise) for c in own) for own in layers.values())
    assert total(choice, minimise) == pytest.approx(expected, rel=1e-9, abs=1e-9 * largest)


@given(
    networks(most_layers=4, widths=((4, 8), (2, 8), (4, 4), (2, 4))),
    st.floats(0.2, 1),
)
def test_layers_that_read_one_tensor_agree_on_its_bits(layers, within):
    groups = [tuple(layers)[:2], tuple(layers)[2:]]
    groups = [group for group in groups if len(group) > 1]
    most = sum(max(c.bytes for c in own) for own in layers.values())
    bound = {"bytes": within * most}
    expected = least(layers, "error", bound, groups)
    assume(expected is not None)
    choice = allocate(layers, "error", bound, groups)
    assert all(len({choice[name].input_bits for name in group}) == 1 for group in groups)
    largest = sum(max(c.error for c in own) for own in layers.values())
    assert total(choice, "error") == pytest.approx(expected, rel=1e-9, abs=1e-9 * largest)


@pytest.mark.parametrize("seed", range(3))
def test_chance_finds_nothing_better_in_a_network_of_fifty_layers(seed):
    layers = network(50, seed)
    generator = np.random.default_rng(seed)
    errors, sizes = (
        np.array([[getattr(c, name) for c in own] for own in layers.values()])
        for name in ("error", "bytes")
    )
    picks = generator.integers(5, size=(10_000, 50))
    rows = np.arange(50)
    random_errors, random_sizes = (table[rows, picks].sum(axis=1) for table in (errors, sizes))
    for share in (0.2, 0.5, 0.8):
        budget = int(np.quantile(random_sizes, share))
        best = random_errors[random_sizes <= budget].min()
        choice = allocate(layers, "error", {"bytes": budget})
        assert total(choice, "bytes") <= budget
        assert total(choice, "error") <= best


@given(networks(), st.floats(0, 1), st.floats(0, 1))
def test_more_bytes_never_give_a_larger_error(layers, one, other):
    ends = [sum(f(c.bytes for c in own) for own in layers.values()) for f in (min, max)]
    budgets = sorted(ends[0] + share * (ends[1] - ends[0]) for share in (one, other))
    fewer, more = (total(allocate(layers, "error", {"bytes": b}), "error") for b in budgets)
    assert more <= fewer or more == nearly(fewer)


@given(networks(), ERRORS, st.integers(1, 10**6), st.floats(0, 1))
def test_an_added_candidate_never_hurts(layers, error, size, within):
    ends = [sum(f(c.bytes for c in own) for own in layers.values()) for f in (min, max)]
    bound = {"bytes": ends[0] + within * (ends[1] - ends[0])}
    before = total(allocate(layers, "error", bound), "error")
    first = next(iter(layers))
    layers[first] = [*layers[first], Candidate(3, 8, error, size)]
    after = total(allocate(layers, "error", bound), "error")
    assert after <= before or after == nearly(before)


def test_of_equally_few_bytes_the_least_error_is_taken():
    layers = {
        "a": [Candidate(4, 8, 1.0, 10), Candidate(2, 8, 3.0, 5)],
        "b": [Candidate(4, 8, 1.5, 10), Candidate(2, 8, 2.0, 5)],
    }
    choice = allocate(layers, "bytes", {"error": 4.9})
    assert {name: c.weight_bits for name, c in choice.items()} == {"a": 4, "b": 2}


def test_the_same_costs_give_the_same_plan():
    layers = network(30)
    budget = {"bytes": sum(own[2].bytes for own in layers.values())}
    assert allocate(layers, "error", budget) == allocate(dict(layers), "error", budget)


def test_a_bound_is_kept_to_the_last_digit():
    # The sum is above the bound by less than the solver's tolerance.
    layers = {"a": [Candidate(8, 8, 0.0, 10**9 + 1), Candidate(4, 8, 1.0, 10)]}
    assert allocate(layers, "error", {"bytes": 10**9})["a"].weight_bits == 4


def test_what_cannot_be_met_is_told_with_the_least_that_can():
    layers = {"a": [Candidate(8, 8, 0.1, 80), Candidate(1, 8, 2.0, 10)]}
    with pytest.raises(Infeasible, match="bytes ≤ 9, of which 10 is the least") as refused:
        allocate(layers, "error", {"bytes": 9})
    assert refused.value.least == {"bytes": 10}


def test_sums_of_bytes_are_integers_and_others_are_rounded_once():
    choice = {str(i): Candidate(8, 8, 0.1, 2**53 + 1) for i in range(10)}
    assert total(choice, "bytes") == 10 * (2**53 + 1)
    assert total(choice, "error") == math.fsum([0.1] * 10) == 1.0
