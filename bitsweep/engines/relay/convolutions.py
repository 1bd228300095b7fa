"""PyTorch's names of a Relay module's convolutions, which `relay.quantize` counts."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import tvm
from tvm import relay

from bitsweep.relax.errors import NotQuantizable

_NAMES = "convolutions"  # the module's attribute


def named(
    imported: tvm.IRModule, params: Mapping, paths: Mapping[str, np.ndarray], module: tvm.IRModule
) -> tvm.IRModule:
    """Return `module` with the names of its convolutions, which passes made of `imported`.

    A convolution is called by the path of its weight, the one of `paths` (a `state_dict`) with its
    values: TVM's importer makes other names for them. One whose path cannot be told from another is
    not named; a further use of the same weight is `conv#2`, `conv#3`, ….
    """
    bound = relay.build_module.bind_params_by_name(imported["main"], params)
    before, after = _convolutions(tvm.IRModule.from_expr(bound)), _convolutions(module)
    if [_weight_shape(call) for call in before] != [_weight_shape(call) for call in after]:
        return module
    found: dict[bytes, list[str]] = {}
    for path, values in paths.items():
        found.setdefault(_digest(values), []).append(path)
    names, uses = [], Counter()
    for call in before:
        candidates = [p for weight in _constants(call.args[1]) for p in found.get(weight, [])]
        name = candidates[0].removesuffix(".weight") if len(candidates) == 1 else ""
        uses[name] += 1
        names.append(f"{name}#{uses[name]}" if name and uses[name] > 1 else name)
    return module.with_attr(_NAMES, names)


def names_of(imported: tvm.IRModule, module: tvm.IRModule) -> list[str]:
    """Return the names of the convolutions of `module`, in its order, "" for one without.

    `relay.quantize` drops those of `imported`, which it made `module` of: they still hold where
    convolutions of the same shapes come in the same order.
    """
    before, after = _convolutions(imported), _convolutions(module)
    if [_weight_shape(call) for call in before] != [_weight_shape(call) for call in after]:
        return [""] * len(after)
    return _names(imported)


def _names(module: tvm.IRModule) -> list[str]:
    attributes = module.attrs or {}
    known = [str(name) for name in attributes[_NAMES]] if _NAMES in attributes else []
    return known + [""] * (len(_convolutions(module)) - len(known))


def indices(module: tvm.IRModule, skipped: Sequence[int | str]) -> list[int]:
    """Return which convolutions are meant, by number or name; `NotQuantizable` for none."""
    names = _names(module)
    found = []
    for layer in skipped:
        index = names.index(layer) if layer and layer in names else layer
        # The first is left out by default, also where there is none.
        if index != 0 and index not in range(len(names)):
            raise NotQuantizable(
                f"skip_conv_layers: there is no convolution {layer}: {_known(layer, names)}"
            )
        found.append(index)
    return found


def _known(layer: int | str, names: Sequence[str]) -> str:
    if isinstance(layer, str):
        near = get_close_matches(layer, names, n=3)
        known = [name for name in names if name]
        return f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(known)}"
    numbered = (f"{i} ({name})" if name else f"{i}" for i, name in enumerate(names))
    return f"they are {', '.join(numbered)}"


def _convolutions(module: tvm.IRModule) -> list[relay.Call]:
    """The calls that `relay.quantize` counts, in its order."""
    found = []

    def visit(node):
        if isinstance(node, relay.Call) and getattr(node.op, "name", None) == "nn.conv2d":
            found.append(node)

    relay.analysis.post_order_visit(relay.transform.InferType()(module)["main"], visit)
    return found


def _constants(expression: relay.Expr) -> list[bytes]:
    """The digests of the tensors that an expression is made of."""
    found = []

    def visit(node):
        if isinstance(node, relay.Constant):
            found.append(_digest(node.data.numpy()))

    relay.analysis.post_order_visit(expression, visit)
    return found


def _weight_shape(call: relay.Call) -> tuple[int, ...]:
    return tuple(int(size) for size in call.args[1].checked_type.shape)


def _digest(values: np.ndarray) -> bytes:
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).digest()
