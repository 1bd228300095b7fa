"""What a program of `torch.export` calls its parameters, which TVM's importer forgets."""

import numpy as np


def parameters(exported) -> dict[str, tuple[str, np.ndarray]]:
    """Return PyTorch's path and the value of each parameter, by the variable that stands for it.

    `exported` is the `torch.export.ExportedProgram` that `from_exported_program` imports with
    `keep_params_as_input=True`.
    """
    specs = exported.graph_signature.input_specs
    kept = dict(exported.named_parameters())
    return {
        spec.arg.name: (spec.target, kept[spec.target].detach().numpy())
        for spec in specs
        if spec.target in kept
    }
