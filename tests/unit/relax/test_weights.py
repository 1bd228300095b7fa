import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bitsweep.relax.weights import (
    Moments,
    binary,
    by_error,
    by_maximum,
    descend,
    gptq,
    nearest,
    shrinkage,
)
from tests.unit.relax.levels import LEVELS, rounded

BITS = st.integers(1, 8)
WEIGHTS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 24)),
    elements=st.floats(-8, 8, width=32),
)
# Max 1960, uniform quantizers of a Gaussian, 1 to 8 bits, mid-rise throughout.
GAUSSIAN_SQNR_DB = (4.40, 9.25, 14.27, 19.38, 24.57, 29.83, 35.13, 40.34)
few = settings(max_examples=60)


def layer(seed: int, outputs: int = 8, inputs: int = 40, rows: int = 200):
    """Weights and the covariance of inputs of unequal power that depend on each other."""
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((inputs, inputs)) / inputs**0.5 + 0.5
    data = np.maximum(generator.standard_normal((rows, inputs)) @ mixing, 0)
    weight = generator.standard_normal((outputs, inputs))
    return weight, data @ np.diag(generator.exponential(size=inputs))


def hessian_of(data):
    return np.cov(data.T, bias=True)


def damped(hessian, damping=0.1):
    return hessian + damping * np.diagonal(hessian).mean() * np.eye(len(hessian))


def errors(weight, integers, scale, hessian):
    difference = weight - integers * scale[:, None].astype(np.float64)
    return np.einsum("ok,kl,ol->o", difference, hessian, difference)


def on_grid(integers, bits):
    return integers.dtype == np.int8 and np.isin(integers, LEVELS[bits]).all()


@few
@given(WEIGHTS, BITS, st.booleans())
def test_scale_by_maximum_reaches_the_limit_and_clips_nothing(weight, bits, per_channel):
    scale = by_maximum(weight, bits, per_channel)
    largest = np.abs(weight).max(axis=1 if per_channel else None)
    assert scale.dtype == np.float32
    assert scale.shape == weight.shape[:1]
    assert scale * LEVELS[bits][-1] == pytest.approx(np.broadcast_to(largest, scale.shape))


@few
@given(WEIGHTS, BITS, st.booleans())
def test_scale_by_error_is_no_worse_than_by_maximum(weight, bits, per_channel):
    def squared(scale):
        integers = nearest(weight, scale, bits)
        return errors(weight.astype(np.float64), integers, scale, np.eye(weight.shape[1]))

    found = squared(by_error(weight, bits, per_channel))
    largest = squared(by_maximum(weight, bits, per_channel))
    if not per_channel:
        found, largest = found.sum(), largest.sum()
    assert (found <= largest * 1.0001 + 1e-12 * np.square(weight).sum()).all()


@few
@given(WEIGHTS, BITS, st.integers(-100, 100))
def test_scale_by_error_follows_the_unit(weight, bits, exponent):
    weight = np.where(np.abs(weight) < 1e-3, 0, weight).astype(np.float32)
    scaled = by_error(np.ldexp(weight, exponent), bits)
    assert (scaled == np.ldexp(by_error(weight, bits), exponent)).all()


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("per_channel", [False, True])
def test_gaussian_weights_have_the_sqnr_of_the_textbook(bits, per_channel):
    weight = np.random.default_rng(0).standard_normal((4, 20_000)).astype(np.float32)
    scale = by_error(weight, bits, per_channel)
    noise = weight - nearest(weight, scale, bits) * scale[:, None]
    sqnr_db = 10 * np.log10(np.mean(weight**2) / np.mean(noise**2))
    assert sqnr_db == pytest.approx(GAUSSIAN_SQNR_DB[bits - 1], abs=0.1 if bits < 5 else 0.6)


@few
@given(WEIGHTS, BITS)
def test_nearest_is_on_the_grid_and_nearest(weight, bits):
    scale = by_error(weight, bits)
    integers = nearest(weight, scale, bits)
    assert on_grid(integers, bits)
    live = scale > 0
    away = np.abs(weight[..., None] - scale[:, None, None] * np.array(LEVELS[bits], np.float64))
    mine = np.abs(weight - scale[:, None] * integers.astype(np.float64))
    assert (mine <= away.min(axis=-1) + 1e-6 * scale[:, None])[live].all()


@few
@given(WEIGHTS)
def test_binary_is_the_best_of_one_bit(weight):
    signs, scale = binary(weight)
    assert on_grid(signs, 1)
    assert scale == pytest.approx(by_error(weight, 1), rel=1e-5)
    identity = np.eye(weight.shape[1])
    found = errors(weight.astype(np.float64), signs, scale, identity)
    for factor in (0.9, 1.1):
        assert (
            found <= errors(weight.astype(np.float64), signs, scale * factor, identity) + 1e-9
        ).all()


@settings(max_examples=40)
@given(st.integers(0, 10**6), BITS, st.booleans(), st.sampled_from([5, 30, 100]))
def test_gptq_is_on_the_grid_and_no_worse_than_nearest(seed, bits, activation_order, rows):
    weight, data = layer(seed, rows=rows)
    hessian = hessian_of(data)
    integers, scale = gptq(weight, hessian, bits, activation_order=activation_order)
    assert on_grid(integers, bits)
    assert scale.dtype == np.float32
    plain = by_error(weight, bits)
    reference = errors(weight, nearest(weight, plain, bits), plain, damped(hessian))
    assert (errors(weight, integers, scale, damped(hessian)) <= reference * 1.0001).all()


@pytest.mark.parametrize("bits", range(1, 9))
def test_gptq_gains_decibels_where_inputs_are_correlated(bits):
    weight, data = layer(bits, outputs=32, inputs=100, rows=1000)
    hessian = hessian_of(data)
    plain = by_error(weight, bits)
    reference = errors(weight, nearest(weight, plain, bits), plain, hessian).sum()
    found = errors(weight, *gptq(weight, hessian, bits), hessian).sum()
    assert 10 * np.log10(reference / found) > 2


def papers_gptq(weight, hessian, scale, bits):
    """Algorithm 1 of arXiv:2210.17323 with blocks of one column."""
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    remaining, integers = weight.copy(), np.empty_like(weight)
    for column in range(weight.shape[1]):
        integers[:, column] = rounded(remaining[:, column] / scale, bits)
        error = (remaining[:, column] - scale * integers[:, column]) / upper[column, column]
        remaining[:, column:] -= error[:, None] * upper[column, column:]
    return integers


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("activation_order", [False, True])
def test_without_descent_it_is_the_papers_algorithm(bits, activation_order):
    # More inputs than a block has.
    weight, data = layer(bits, outputs=16, inputs=150, rows=1000)
    hessian = hessian_of(data)
    scale = by_error(weight, bits)
    found, kept = gptq(
        weight, hessian, bits, scale=scale, sweeps=0, activation_order=activation_order
    )
    order = np.argsort(-np.diagonal(hessian)) if activation_order else np.arange(150)
    expected = np.empty_like(weight)
    expected[:, order] = papers_gptq(
        weight[:, order], damped(hessian)[np.ix_(order, order)], scale.astype(np.float64), bits
    )
    assert (kept == scale).all()
    # A tie that float32 rounds the other way changes what follows it in that channel.
    assert (found == expected).all(axis=1).mean() > 0.7
    allowed = errors(weight, expected, scale, damped(hessian)) * 1.1
    assert (errors(weight, found, scale, damped(hessian)) <= allowed).all()


@settings(max_examples=30)
@given(st.integers(0, 10**6), BITS, st.booleans())
def test_descent_never_raises_the_error_and_ends_where_no_step_lowers_it(seed, bits, refit):
    weight, data = layer(seed, outputs=4, inputs=12)
    hessian = hessian_of(data)
    start = by_error(weight, bits).astype(np.float64)
    integers = nearest(weight, start, bits)
    found, scale = descend(
        weight, integers, start, hessian, bits, sweeps=1000, refit=refit, per_channel=True
    )
    assert refit or (scale == start).all()
    assert on_grid(found.astype(np.int8), bits)
    error = errors(weight, found, scale, hessian)
    assert (error <= errors(weight, integers, start, hessian) * (1 + 1e-9)).all()
    for column, level in itertools.product(range(12), LEVELS[bits]):
        other = found.copy()
        other[:, column] = level
        assert (errors(weight, other, scale, hessian) >= error * (1 - 1e-9)).all()


@pytest.mark.parametrize("bits", range(1, 9))
def test_one_scale_for_all(bits):
    weight, data = layer(bits)
    weight[0] *= 5
    hessian = hessian_of(data)
    integers, scale = gptq(weight, hessian, bits, per_channel=False)
    assert (scale == scale[0]).all()
    plain = by_error(weight, bits, per_channel=False)
    reference = errors(weight, nearest(weight, plain, bits), plain, damped(hessian)).sum()
    assert errors(weight, integers, scale, damped(hessian)).sum() <= reference * 1.0001


@pytest.mark.parametrize("bits", range(1, 9))
def test_cross_moments_make_the_outputs_the_aim(bits):
    weight, data = layer(bits, rows=2000)
    generator = np.random.default_rng(bits)
    seen = data + 0.3 * data.std(axis=0) * generator.standard_normal(data.shape)
    moments = Moments()
    moments.update(seen, data @ weight.T)

    def output_error(**arguments):
        integers, scale = gptq(weight, moments.covariance(), bits, damping=0.001, **arguments)
        wrong = data @ weight.T - seen @ (integers * scale[:, None].astype(np.float64)).T
        return wrong.var(axis=0).sum()

    assert output_error(cross=moments.cross_covariance()) < output_error()


def test_cross_moments_of_the_same_inputs_change_nothing():
    weight, data = layer(0)
    hessian = hessian_of(data)
    integers, scale = gptq(weight, hessian, 4)
    again, its_scale = gptq(weight, hessian, 4, cross=weight @ hessian)
    assert (integers == again).mean() > 0.99
    assert scale == pytest.approx(its_scale, rel=0.01)


@pytest.mark.parametrize("bits", [1, 4])
def test_groups_are_layers_side_by_side(bits):
    weights, datas = zip(*(layer(seed, outputs=3, inputs=9) for seed in range(5)), strict=True)
    weight, hessian = np.stack(weights), np.stack([hessian_of(data) for data in datas])
    cross = weight @ hessian * 1.1
    # Later sweeps depend on whether any group still moves.
    integers, scale = gptq(weight, hessian, bits, cross=cross, sweeps=1)
    for group in range(5):
        alone = gptq(weight[group], hessian[group], bits, cross=cross[group], sweeps=1)
        assert (integers[group] == alone[0]).all()
        assert scale[group] == pytest.approx(alone[1], rel=1e-4)


@few
@given(st.integers(0, 10**6), BITS, st.integers(-20, 20), st.integers(-20, 20))
def test_units_do_not_matter(seed, bits, weight_exponent, input_exponent):
    weight, data = layer(seed, outputs=3, inputs=6)
    hessian = hessian_of(data)
    integers, scale = gptq(weight, hessian, bits)
    again, its_scale = gptq(
        np.ldexp(weight, weight_exponent), np.ldexp(hessian, input_exponent), bits
    )
    assert (integers == again).all()
    assert (np.ldexp(scale, weight_exponent) == its_scale).all()


def test_the_same_twice():
    weight, data = layer(3, inputs=200)
    first, second = (gptq(weight, hessian_of(data), 2) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()


@pytest.mark.parametrize("bits", range(1, 9))
def test_dead_channels_and_dead_inputs(bits):
    weight, data = layer(bits)
    weight[2] = 0
    data[:, [0, 7]] = 0
    hessian = hessian_of(data)
    for found in (
        gptq(weight, hessian, bits),
        gptq(weight, hessian, bits, cross=weight @ hessian),
        gptq(weight, np.zeros_like(hessian), bits),
        (nearest(weight, by_error(weight, bits), bits), by_error(weight, bits)),
    ):
        integers, scale = found
        assert on_grid(integers, bits)
        assert np.isfinite(scale).all()
        assert (scale > 0).tolist() == [output != 2 for output in range(8)]


def test_inputs_that_are_all_dead_are_rounded_to_nearest():
    weight, _ = layer(0)
    integers, scale = gptq(weight, np.zeros((40, 40)), 3)
    plain = by_error(weight, 3)
    assert scale == pytest.approx(plain, rel=0.02)
    assert (integers == nearest(weight, scale, 3)).all()


def test_what_gptq_refuses():
    weight, data = layer(0, rows=5)
    hessian = hessian_of(data)
    with pytest.raises(ValueError, match="not finite"):
        gptq(np.where(weight > 2, np.nan, weight), hessian, 4)
    with pytest.raises(ValueError, match="not finite"):
        gptq(weight, np.where(hessian > 0, np.inf, hessian), 4)
    with pytest.raises(ValueError, match="bits"):
        gptq(weight, hessian, 9)
    with pytest.raises(ValueError, match="positive definite"):
        gptq(weight, -hessian, 4, damping=0)


@few
@given(st.integers(0, 10**6), st.integers(0, 30))
def test_moments_are_the_datas_however_they_come(seed, cut):
    generator = np.random.default_rng(seed)
    data, outputs = generator.standard_normal((30, 5)) + 2, generator.standard_normal((30, 3))
    moments = Moments()
    for rows in (slice(None, cut), slice(cut, None)):
        moments.update(data[rows], outputs[rows])
    joint = np.cov(np.hstack([data, outputs]).T, bias=True)
    assert moments.covariance() == pytest.approx(joint[:5, :5])
    assert moments.cross_covariance() == pytest.approx(joint[5:, :5])


def test_moments_of_halves_and_groups():
    generator = np.random.default_rng(0)
    data, outputs = generator.standard_normal((4, 21, 3)), generator.standard_normal((4, 21, 2))
    grouped = Moments()
    grouped.update(data[:, :11], outputs[:, :11])
    grouped.update(data[:, 11:], outputs[:, 11:])
    halves = ([*range(6), *range(11, 16)], [*range(6, 11), *range(16, 21)])
    for group in range(4):
        alone = Moments()
        alone.update(data[group], outputs[group])
        joint = np.cov(np.hstack([data[group], outputs[group]]).T, bias=True)
        assert grouped.covariance()[group] == pytest.approx(joint[:3, :3])
        assert alone.covariance() == pytest.approx(joint[:3, :3])
        for half, rows in enumerate(halves):
            joint = np.cov(np.hstack([data[group], outputs[group]])[rows].T, bias=True)
            assert grouped.covariance(half)[group] == pytest.approx(joint[:3, :3])
            assert grouped.cross_covariance(half)[group] == pytest.approx(joint[3:, :3])


def moments_of(data, outputs):
    moments = Moments()
    moments.update(data, outputs)
    return moments


def test_a_fit_is_trusted_where_it_explains_unseen_data_and_no_further():
    weight, data = layer(0, rows=4000)
    generator = np.random.default_rng(1)
    wanted = data @ (weight + 0.5 * generator.standard_normal(weight.shape)).T
    noise = generator.standard_normal(wanted.shape) * wanted.std()
    clean = shrinkage(weight, moments_of(data, wanted))
    few_rows = shrinkage(weight, moments_of(data[:100], (wanted + noise)[:100]))
    pointless = shrinkage(weight, moments_of(data[:100], data[:100] @ weight.T + noise[:100]))
    assert clean > 0.95
    assert 0 <= pointless < few_rows < clean


@few
@given(st.integers(0, 10**6), st.integers(1, 100))
def test_a_share_is_a_share(seed, rows):
    weight, data = layer(seed, outputs=3, inputs=6, rows=rows)
    wanted = np.random.default_rng(seed).standard_normal((rows, 3))
    assert 0 <= shrinkage(weight, moments_of(data, wanted)) <= 1


@few
@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from([(), (2,)]))
def test_trust_is_the_same_from_few_rows_as_from_their_moments(seed, quarter, groups):
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal((*groups, 3, 24))
    first, second, third, fourth = generator.standard_normal((4, *groups, quarter, 24)) + 1
    noise = 0.5 * generator.standard_normal((*groups, 4 * quarter, 3))
    other = weight + 0.3 * generator.standard_normal(weight.shape)

    def wanted(data, noise):
        return data @ np.swapaxes(other, -1, -2) + noise

    def joined(*parts):
        return np.concatenate(parts, axis=-2)

    kept, summed = Moments(), Moments()
    data = joined(first, second, third, fourth)
    answers = wanted(data, noise)
    kept.update(data, answers)
    a, b, c, d = np.split(answers, 4, axis=-2)
    summed.update(joined(first, third), joined(a, c))
    summed.update(joined(second, fourth), joined(b, d))
    assert shrinkage(weight, kept) == pytest.approx(shrinkage(weight, summed), abs=1e-6)


def test_nothing_seen_is_not_trusted():
    assert shrinkage(np.ones((3, 6)), moments_of(np.zeros((10, 6)), np.zeros((10, 3)))) == 0


def test_trust_leads_from_the_weights_to_the_fit():
    weight, data = layer(0, rows=2000)
    hessian = hessian_of(data)
    other, _ = layer(1)

    def at(trust):
        integers, scale = gptq(weight, hessian, 8, cross=other @ hessian, trust=trust, damping=1e-6)
        return integers * scale[:, None].astype(np.float64)

    for trust in (0, 0.5, 1):
        wanted = (1 - trust) * weight + trust * other
        assert errors(wanted, at(trust), np.ones(8), hessian) == pytest.approx(0, abs=0.02)
