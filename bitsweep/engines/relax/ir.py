"""Relax modules as files: text to read, JSON and parameters to load again."""

from collections.abc import Mapping
from pathlib import Path

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

import bitsweep.relax.op  # noqa: F401  (a module with our operators needs them registered)
from bitsweep.engines.relax import MAIN


@mutator
class _Extraction(PyExprMutator):
    """Turn tensor constants into variables, kept in `params`; scalars stay, for readers."""

    def __init__(self):
        super().__init__()
        self.params: dict[relax.Var, tvm.runtime.Tensor] = {}

    def visit_generic_const_(self, op):
        if not isinstance(op.value, tvm.runtime.Tensor) or not op.value.shape:
            return op
        var = relax.Var(f"p{len(self.params)}", op.ty)
        self.params[var] = op.value
        return var


def save(module: tvm.IRModule, outputs: Mapping[str, str]) -> None:
    """Write a module, its parameters bound as constants, to the paths `ir`, `params`, `text`.

    Tensors go to `params`, binary, by the names of the variables that stand for them in the
    function: as constants they would be base64 text within the JSON.
    """
    extraction = _Extraction()
    main = module[MAIN]
    body = extraction.visit_expr(main.body)
    saved = tvm.IRModule(dict(module.functions.items()), attrs=module.attrs)
    saved[MAIN] = relax.Function(
        [*main.params, *extraction.params], body, main.ret_ty, main.is_pure, main.attrs
    )
    params = {var.name: value for var, value in extraction.params.items()}
    Path(outputs["ir"]).write_text(tvm.ir.save_json(saved), encoding="utf-8")
    Path(outputs["params"]).write_bytes(tvm.runtime.save_param_dict(params))
    Path(outputs["text"]).write_text(saved.script(show_meta=False) + "\n", encoding="utf-8")


def load(inputs: Mapping[str, str]) -> tvm.IRModule:
    """Read a module from `ir` and `params`, its parameters bound as constants again."""
    module = tvm.ir.load_json(Path(inputs["ir"]).read_text(encoding="utf-8"))
    params = tvm.runtime.load_param_dict(Path(inputs["params"]).read_bytes())
    return relax.transform.BindParams(MAIN, dict(params))(module)
