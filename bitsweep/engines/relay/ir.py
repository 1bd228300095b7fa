"""Relay modules as files: text to read, JSON and parameters to load again."""

from collections.abc import Mapping
from pathlib import Path

import tvm
from tvm import relay


def save(module: tvm.IRModule, params: Mapping[str, tvm.nd.NDArray], outputs: dict) -> None:
    """Write a module to the paths `ir`, `params` and `text`."""
    Path(outputs["ir"]).write_text(tvm.ir.save_json(module), encoding="utf-8")
    Path(outputs["params"]).write_bytes(tvm.runtime.save_param_dict(params))
    Path(outputs["text"]).write_text(module["main"].astext(show_meta_data=False), encoding="utf-8")


def load(inputs: Mapping[str, str]) -> tuple[tvm.IRModule, dict[str, tvm.nd.NDArray]]:
    """Read a module from the paths `ir` and `params`."""
    module = tvm.ir.load_json(Path(inputs["ir"]).read_text(encoding="utf-8"))
    params = tvm.runtime.load_param_dict(Path(inputs["params"]).read_bytes())
    return relay.transform.InferType()(module), dict(params)
