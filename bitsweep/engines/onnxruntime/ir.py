"""ONNX models as files: text to read, a graph, and tensors beside it."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx

_SMALL_BYTES = 1024  # constants that a reader of the text wants to see


def save(model: onnx.ModelProto, outputs: Mapping[str, str]) -> None:
    """Write a model to `ir`, its tensors to `params`, which `ir` names, and its graph to `text`."""
    params = Path(outputs["params"])
    params.write_bytes(b"")  # to which tensors are appended
    onnx.save_model(
        model,
        outputs["ir"],
        save_as_external_data=True,
        location=params.name,
        size_threshold=_SMALL_BYTES,
    )
    Path(outputs["text"]).write_text(
        onnx.printer.to_text(onnx.load(outputs["ir"], load_external_data=False)), encoding="utf-8"
    )


def load(inputs: Mapping[str, str]) -> onnx.ModelProto:
    """Read a model from `ir`, with the tensors in the `params` that lie beside it."""
    return onnx.load(inputs["ir"])


def made(write: Callable[[Any, str], None], source: Any) -> onnx.ModelProto:
    """Return the model that `write(source, path)` leaves: the tool's functions write files."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.onnx")
        write(source, path)
        return onnx.load(path)
