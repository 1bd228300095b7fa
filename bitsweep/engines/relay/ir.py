"""Relay modules as files: text to read, JSON and parameters to load again."""

import sys
from collections.abc import Mapping
from pathlib import Path

import tvm
from tvm import relay
from tvm.relay.expr_functor import ExprMutator

# Python's default is less than the depth of a deep network, which the mutator descends.
_DEEPEST = 100_000


class _Extraction(ExprMutator):
    """Turn tensor constants into variables, kept in `params`; scalars stay, for readers."""

    def __init__(self):
        super().__init__()
        self.params: dict[relay.Var, tvm.nd.NDArray] = {}

    def visit_constant(self, const):
        if not const.data.shape:
            return const
        var = relay.var(f"p{len(self.params)}", const.checked_type)
        self.params[var] = const.data
        return var


def save(module: tvm.IRModule, outputs: Mapping[str, str]) -> None:
    """Write a module, its parameters bound as constants, to the paths `ir`, `params`, `text`.

    Tensors go to `params`, binary, by the names of the variables that stand for them in the
    function: as constants they would be base64 text within the JSON.
    """
    sys.setrecursionlimit(_DEEPEST)
    extraction = _Extraction()
    module = relay.transform.InferType()(module)
    main = module["main"]
    body = extraction.visit(main.body)
    module["main"] = relay.Function([*main.params, *extraction.params], body, main.ret_type)
    params = {var.name_hint: data for var, data in extraction.params.items()}
    Path(outputs["ir"]).write_text(tvm.ir.save_json(module), encoding="utf-8")
    Path(outputs["params"]).write_bytes(tvm.runtime.save_param_dict(params))
    Path(outputs["text"]).write_text(module["main"].astext(show_meta_data=False), encoding="utf-8")


def load(inputs: Mapping[str, str]) -> tuple[tvm.IRModule, dict[str, tvm.nd.NDArray]]:
    """Read a module, and the parameters to build or quantize it with, from `ir` and `params`."""
    module = tvm.ir.load_json(Path(inputs["ir"]).read_text(encoding="utf-8"))
    params = tvm.runtime.load_param_dict(Path(inputs["params"]).read_bytes())
    return relay.transform.InferType()(module), dict(params)
