"""OpenVINO's models as files: text to read, a graph, and tensors beside it."""

from collections.abc import Mapping
from pathlib import Path

import openvino


def save(model: openvino.Model, outputs: Mapping[str, str]) -> None:
    """Write a model to `ir`, XML, its tensors to `params`, and its operators to `text`."""
    graph, tensors = (Path(outputs[name]) for name in ("ir", "params"))
    xml, weights = graph.with_suffix(".xml"), graph.with_suffix(".bin")
    openvino.serialize(model, str(xml), str(weights))
    xml.replace(graph)
    weights.replace(tensors)
    lines = [_line(node) for node in model.get_ordered_ops() if node.get_type_name() != "Constant"]
    Path(outputs["text"]).write_text("\n".join(lines) + "\n", encoding="utf-8")


def load(inputs: Mapping[str, str]) -> openvino.Model:
    """Read a model from `ir` and `params`."""
    graph, tensors = (Path(inputs[name]).read_bytes() for name in ("ir", "params"))
    weights = openvino.Tensor(openvino.Type.u8, [len(tensors)])
    weights.data[:] = memoryview(tensors)
    return openvino.Core().read_model(graph, weights)


def _line(node: openvino.Node) -> str:
    """`name = Type(inputs): type[shape]`, as much as a reader wants."""
    sources = [value.get_source_output().get_node() for value in node.inputs()]
    arguments = ", ".join(
        f"{source.get_element_type().to_string()}{list(source.get_output_shape(0))}"
        if source.get_type_name() == "Constant"
        else source.get_friendly_name()
        for source in sources
    )
    made = ", ".join(
        f"{output.get_element_type().to_string()}{output.get_partial_shape()}"
        for output in node.outputs()
    )
    return f"{node.get_friendly_name()} = {node.get_type_name()}({arguments}): {made}"
