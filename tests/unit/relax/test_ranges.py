import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bitsweep.relax.ranges import Observer, choose

METHODS = ("min_max", "moving_average", "percentile", "mse", "kl_divergence")
VALUES = arrays.arrays(
    np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
)
FINITE = st.floats(-1e30, 1e30)
BITS = st.integers(1, 8)
few = settings(max_examples=60)


def observed(*batches) -> Observer:
    observer = Observer()
    for batch in batches:
        observer.update(np.asarray(batch, dtype=np.float32))
    return observer


def squared_error(values, low, high, bits, symmetric=False):
    scale, zero_point = choose(low, high, bits, symmetric)
    integers = np.clip(np.floor(values / scale + zero_point + 0.5), 0, 2**bits - 1)
    return np.mean(((integers - zero_point) * scale - values) ** 2)


@few
@given(VALUES, BITS, st.booleans(), st.sampled_from(METHODS))
def test_a_range_lies_within_the_data(values, bits, symmetric, method):
    low, high = observed(values).range(method, bits=bits, symmetric=symmetric)
    assert values.min() <= low <= high <= values.max()
    assert (type(low), type(high)) == (float, float)


@few
@given(VALUES, st.data(), st.sampled_from([m for m in METHODS if m != "moving_average"]))
def test_neither_order_nor_batches_matter(values, data, method):
    shuffled = np.array(data.draw(st.permutations(values.tolist())), dtype=np.float32)
    cut = data.draw(st.integers(0, len(values)))
    whole = observed(values).range(method, bits=4)
    assert observed(shuffled[:cut], shuffled[cut:]).range(method, bits=4) == whole


@few
@given(VALUES)
def test_all_values_are_counted_in_their_bins(values):
    histogram = observed(*values).histogram
    assert histogram.counts.sum() + histogram.zeros == len(values)
    for value in values[values != 0]:
        assert histogram.counts[histogram.bin_of(float(value))] > 0
    assert histogram.zeros == (values == 0).sum()


def test_memory_does_not_grow():
    observer = Observer()
    for magnitude in (1e-20, 1.0, 1e20, 1e-20):
        observer.update(np.linspace(-magnitude, magnitude, 999))
        assert observer.histogram.counts.shape == (8192,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_not_counted(bad):
    observer = observed([1.0, 2.0])
    with pytest.raises(ValueError, match="not finite"):
        observer.update(np.array([0.5, bad, 100.0], dtype=np.float32))
    assert observer.range("min_max") == observer.range("moving_average") == (1.0, 2.0)
    assert observer.histogram.counts.sum() == 2


def test_no_values():
    observer = Observer()
    observer.update(np.empty((0, 3)))
    with pytest.raises(ValueError, match="no value"):
        observer.range("min_max")


def test_an_unknown_method():
    with pytest.raises(ValueError, match="'max'"):
        observed([1.0]).range("max")


def test_moving_average_by_hand():
    low, high = observed([-1, 1], [-3, 2], [0, 11]).range("moving_average")
    assert low == pytest.approx(0.9 * (0.9 * -1 + 0.1 * -3) + 0.1 * 0)
    assert high == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 11)


@pytest.mark.parametrize("percentile", [90, 99, 99.9])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 2.5])
def test_percentile_is_numpys_to_a_bin(percentile, shift):
    values = np.random.default_rng(0).standard_normal(50_000) + shift
    values[:20_000] = np.maximum(values[:20_000], 0)
    observer = Observer()
    observer.update(values)
    tail = (100 - percentile) / 2
    ends = observer.range("percentile", percentile=percentile)
    assert ends == pytest.approx(np.percentile(values, [tail, 100 - tail]), abs=0.01)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ["normal", "relu", "laplace", "negative"])
def test_least_error_is_least(bits, symmetric, kind):
    generator = np.random.default_rng(bits)
    values = {
        "normal": generator.standard_normal(20_000) + 0.3,
        "relu": np.maximum(generator.standard_normal(20_000), 0),
        "laplace": generator.laplace(size=20_000),
        "negative": -generator.exponential(size=20_000),
    }[kind]
    observer = Observer()
    observer.update(values)
    low, high = observer.range("mse", bits=bits, symmetric=symmetric)
    found = squared_error(values, low, high, bits, symmetric)
    for share in np.linspace(0.02, 1, 50):
        other = share * values.min(), share * values.max()
        assert found <= squared_error(values, *other, bits, symmetric) * 1.01


@pytest.mark.parametrize("bits", range(1, 9))
def test_one_sided_and_mirrored_data_have_nearly_mirrored_divergence_ranges(bits):
    values = np.random.default_rng(0).exponential(size=20_000).astype(np.float32)
    low, high = observed(values).range("kl_divergence", bits=bits)
    mirrored = observed(-values).range("kl_divergence", bits=bits)
    assert low == values.min()
    assert mirrored[1] == -values.min()
    assert -mirrored[0] == pytest.approx(high, rel=0.4)


def test_divergence_cuts_an_outlier_and_keeps_what_fits():
    uniform = np.linspace(0, 1, 100_000)
    assert observed(uniform).range("kl_divergence")[1] > 0.98
    assert observed(np.append(uniform, 50.0)).range("kl_divergence")[1] < 5


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("one_sided", [False, True])
def test_divergence_does_not_cut_far_more_than_the_error_wants(bits, one_sided):
    values = np.random.default_rng(0).standard_normal(50_000)
    observer = observed(np.maximum(values, 0) if one_sided else values)
    least_error = observer.range("mse", bits=bits)[1]
    assert 0.7 < observer.range("kl_divergence", bits=bits)[1] / least_error < 1.6


def test_divergence_is_not_led_by_zeros():
    values = np.random.default_rng(0).exponential(size=20_000)
    sparse = np.concatenate([values, np.zeros(200_000)])
    dense, padded = observed(values), observed(sparse)
    assert padded.range("kl_divergence", bits=4)[1] == dense.range("kl_divergence", bits=4)[1]


@pytest.mark.parametrize("method", METHODS)
def test_a_dead_tensor(method):
    low, high = observed(np.zeros(100)).range(method)
    assert (low, high) == (0, 0)
    assert choose(low, high, 8, False) == choose(low, high, 8, True) == (1.0, 0)


@few
@given(FINITE, FINITE, BITS, st.booleans())
def test_zero_is_exact_and_the_range_is_covered(one, other, bits, symmetric):
    low, high = sorted((one, other))
    scale, zero_point = choose(low, high, bits, symmetric)
    assert 0 <= zero_point < 2**bits
    assert scale > 0
    assert float(np.float32(scale)) == scale
    slack = scale * 0.5 * 1.001
    if low != 0 or high != 0:
        assert (2**bits - 1 - zero_point) * scale >= max(high, 0) - slack or scale == 1
        assert -zero_point * scale <= min(low, 0) + slack or scale == 1
    if symmetric:
        assert zero_point == (0 if low >= 0 or scale == 1 else 2 ** (bits - 1))


@pytest.mark.parametrize(
    ("low", "high", "bits", "symmetric", "expected"),
    [
        (0, 255, 8, False, (1.0, 0)),
        (-128, 127, 8, False, (1.0, 128)),
        (-255, 0, 8, False, (1.0, 255)),
        (5, 510, 8, False, (2.0, 0)),
        (-1, 127.5, 8, True, (1.0, 128)),
        (0, 255, 8, True, (1.0, 0)),
        (-4, 11, 4, False, (1.0, 4)),
        (0, 3, 1, False, (3.0, 0)),
        (1e-42, 2e-42, 8, False, (1.0, 0)),
    ],
)
def test_parameters_by_hand(low, high, bits, symmetric, expected):
    assert choose(low, high, bits, symmetric) == expected


@pytest.mark.parametrize("ends", [(np.nan, 1), (0, np.inf), (-np.inf, 0), (1, 0)])
def test_what_is_no_range(ends):
    with pytest.raises(ValueError, match="not a range"):
        choose(*ends, 8, False)


def test_bits_that_no_activation_has():
    with pytest.raises(ValueError, match="1 to 8 bits"):
        choose(0, 1, 9, False)
