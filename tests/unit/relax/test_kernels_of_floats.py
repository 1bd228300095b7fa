"""Functions of floats that TVM's own schedules leave to scalars, against PyTorch in 64 bits."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from tvm import relax

from tests.unit.relax.compiled import outputs

FUNCTIONS = {
    "gelu": (relax.op.nn.gelu, functional.gelu),
    "silu": (relax.op.nn.silu, functional.silu),
    "sigmoid": (relax.op.sigmoid, torch.sigmoid),
}


def compiled(function, values: np.ndarray, target) -> np.ndarray:
    """A function of a tensor, compiled, of `values`."""
    x = relax.Var("x", relax.TensorType((1, *values.shape), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(function(x))
        builder.emit_func_output(result)
    return outputs(builder.finalize(), values[None], target)[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_each_element(target, name):
    ours, exact = FUNCTIONS[name]
    values = np.linspace(-12, 12, 9973, dtype=np.float32)
    values = np.append(values, [0, 1e-30, -1e-30, 1e-3, -80, 80, -1e4, 1e4, 3e38, -3e38])
    values = values.astype(np.float32)
    expected = exact(torch.from_numpy(values.astype(np.float64))).numpy()
    error = np.abs(compiled(ours, values, target) - expected)
    assert np.all(error <= 3e-7 * np.maximum(np.abs(values), 1 if name == "sigmoid" else 0))


@pytest.mark.parametrize("count", [1, 15, 16, 1023, 1024, 1040])
def test_every_element_of_any_number_is_written_once(target, count):
    values = np.linspace(-5, 5, count, dtype=np.float32)
    expected = torch.sigmoid(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(compiled(relax.op.sigmoid, values, target), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [16, 48, 96, 272, 20])
def test_layer_norm(target, channels):
    random = np.random.default_rng(channels)
    gamma, beta = (random.standard_normal(channels).astype(np.float32) for _ in range(2))
    values = random.standard_normal((3, 5, channels)).astype(np.float32) * 0.1 + 30
    values[1, 2] = 7  # of no variance

    def norm(x):
        return relax.op.nn.layer_norm(x, relax.const(gamma), relax.const(beta), axes=[-1])

    found = compiled(norm, values, target)
    tensors = (torch.from_numpy(array.astype(np.float64)) for array in (values, gamma, beta))
    x, *affine = tensors
    expected = functional.layer_norm(x, (channels,), *affine).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)
