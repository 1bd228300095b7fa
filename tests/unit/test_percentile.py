import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bitsweep.engines.relay.percentile import Percentile


def of_tvm(values, percentile=0.99999):
    """`_find_scale_by_percentile` of tvm/relay/quantize/_calibrate.py."""
    magnitudes = np.abs(values)
    index = int(magnitudes.size * percentile)
    return np.partition(magnitudes, index)[index]


FLOATS = st.floats(-100, 100, width=32)


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 30)), elements=FLOATS))
def test_parts_give_what_tvm_finds_in_the_whole(parts):
    percentile = Percentile(parts.size)
    for part in parts:
        percentile.update(part)
    assert percentile.value == of_tvm(parts.reshape(-1))


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_of_many_values_it_is_not_the_largest(count, seed):
    parts = np.random.default_rng(seed).standard_normal((count, 250_000)).astype(np.float32)
    percentile = Percentile(parts.size)
    for part in parts.reshape(count, 500, 500):
        percentile.update(part)
    assert percentile.value == of_tvm(parts.reshape(-1)) < np.abs(parts).max()
