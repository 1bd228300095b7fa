"""Which layer of the network an operator of the module is."""

import openvino

from bitsweep.engines.openvino import accounting, naming


def layers(model: openvino.Model) -> dict[str, dict]:
    """Return what is known of a model's layers: `layer`, PyTorch's name or None, and `macs`.

    The keys are the names of their nodes, and of the biases after them: some operators are called
    by these alone.
    """
    found: dict[str, dict] = {}
    for node in model.get_ordered_ops():
        name = node.get_friendly_name()
        if macs := accounting.macs(node):
            found[name] = {"layer": naming.name_of(node), "macs": macs}
        elif node.get_type_name() == "Add":
            sources = [value.get_source_output().get_node() for value in node.inputs()]
            if any(source.get_type_name() == "Constant" for source in sources):
                for source in sources:
                    if layer := found.get(source.get_friendly_name()):
                        found[name] = layer
    return found
