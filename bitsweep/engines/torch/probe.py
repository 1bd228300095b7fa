"""Engine: which PyTorch is this?"""

from bitsweep.engines import probing


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Write the versions to `versions`; `Refused` without the package."""
    probing.probe(("torch",), settings["python_path"], outputs["versions"])
