"""TorchScript as files: an archive, which has the tensors too, and its graph to read."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from bitsweep.engines.refusal import asking

_HOW = "how.json"


def save(module: torch.jit.ScriptModule, how: Mapping, outputs: Mapping[str, str]) -> None:
    """Write a module, and `how` it is to be compiled, to `ir`, and its graph to `text`.

    `how` has the `input_shape` (N, C, H, W), and the `compiler` and the `floats` that a precision
    names. `params` stays empty: the archive has the tensors.
    """
    with asking("torch.jit.save"):
        torch.jit.save(module, outputs["ir"], _extra_files={_HOW: json.dumps(dict(how))})
    Path(outputs["params"]).touch()
    Path(outputs["text"]).write_text(str(module.inlined_graph), encoding="utf-8")


def load(inputs: Mapping[str, str]) -> tuple[torch.jit.ScriptModule, dict]:
    """Read a module, and how it is to be compiled."""
    files = {_HOW: ""}
    with asking("torch.jit.load"):
        module = torch.jit.load(inputs["ir"], map_location="cpu", _extra_files=files)
    return module, json.loads(files[_HOW])
