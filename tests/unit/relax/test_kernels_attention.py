"""The kernels of self-attention against the interpreter: floats closely, integers to the bit."""

import numpy as np
import pytest
import tvm
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tvm import relax

from bitsweep.relax import op
from bitsweep.relax.kernels.geometry import Attention
from tests.unit.relax.compiled import Exposed
from tests.unit.relax.test_bit_exact import require_bit_exact
from tests.unit.relax.test_kernels_conv2d import any_tile, on_both

BYTE = st.integers(0, 255)


@st.composite
def shapes(draw) -> dict:
    """Windows, and the attributes of `op.call` that give an attention's shape."""
    heads, size = draw(st.integers(1, 3)), draw(st.sampled_from([16, 32, 48]))
    order = draw(st.permutations(range(3)))
    gap = draw(st.sampled_from([0, 4]))
    width = heads * size + gap
    return {
        "windows": draw(st.integers(1, 4)),
        "channels": 3 * width,
        "tokens": draw(st.integers(1, 40)),
        "heads": heads,
        "size": size,
        "offsets": [place * width for place in order],
    }


def module(shape: dict, name: str, dtype: str, bias, attrs: dict) -> tvm.IRModule:
    """The attention of an image, which is rounded to bytes where `dtype` is uint8."""
    attrs = {**shape, **attrs}
    windows, channels = attrs.pop("windows"), attrs.pop("channels")
    image = relax.Var(
        "image", relax.TensorType((1, 1, windows * shape["tokens"], channels), "float32")
    )
    builder = relax.BlockBuilder()
    with builder.function("main", [image]):
        with builder.dataflow():
            x = image
            if dtype == "uint8":
                one, zero = (relax.const(np.array(n, t)) for n, t in ((1, "f4"), (0, "u1")))
                x = builder.emit(relax.op.quantize(image, one, zero, axis=-1, out_dtype=dtype))
            arguments = [x, *(relax.const(array) for array in bias)]
            result = builder.emit_output(op.call(name, arguments, attrs))
        builder.emit_func_output(result)
    return builder.finalize()


def biases(draw, shape: dict, random, dtype: str) -> list[np.ndarray]:
    kinds = draw(st.integers(0, 2))
    if not kinds:
        return []
    extents = (kinds, shape["heads"], shape["tokens"], shape["tokens"])
    if dtype == "int32":
        bias = random.integers(-(2**18), 2**18, extents)
        bias[random.random(extents) < 0.2] = -(2**28)
    else:
        bias = random.standard_normal(extents)
        bias[random.random(extents) < 0.2] = -100
    return [bias.astype(dtype), random.integers(0, kinds, shape["windows"]).astype(np.int32)]


@on_both
@settings(max_examples=5, deadline=None, phases=set(Phase) - {Phase.explain})
@given(shapes(), st.data())
def test_floats(target, shape, data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    scale = data.draw(st.sampled_from([0.01, 0.2, 3.0]))
    bias = biases(data.draw, shape, random, "float32")
    mod = module(shape, "attention", "float32", bias, {"scale": scale})
    extents = op.shape_of(mod["main"].params[0])
    with any_tile(random):
        compiled = Exposed(mod, target)
    require_bit_exact(compiled, [random.standard_normal(extents).astype(np.float32)])


@on_both
@settings(max_examples=8, deadline=None, phases=set(Phase) - {Phase.explain})
@given(shapes(), st.data())
def test_integers(target, shape, data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    low, high = sorted(data.draw(st.tuples(BYTE, BYTE)))
    attrs = {
        "input_zero_point": data.draw(BYTE),
        "score_scale": data.draw(st.sampled_from([1e-3, 0.3, 11.7, 500.0, 1e9])),
        "value_scale": data.draw(st.sampled_from([0.01, 0.7, 1.3, 1e8])),
        "output_zero_point": data.draw(BYTE),
        "clip_min": low,
        "clip_max": high,
    }
    mod = module(shape, "qattention", "uint8", biases(data.draw, shape, random, "int32"), attrs)
    extents = op.shape_of(mod["main"].params[0])
    images = [random.integers(0, 256, extents), 255 * random.integers(0, 2, extents)]
    with any_tile(random):
        compiled = Exposed(mod, target)
    require_bit_exact(compiled, [image.astype(np.float32) for image in images])


def test_a_head_of_no_whole_vectors_is_refused():
    with pytest.raises(ValueError, match="a head of 20 elements, no multiple of 16"):
        Attention(1, 5, 2, 20, 120, (0, 40, 80))
