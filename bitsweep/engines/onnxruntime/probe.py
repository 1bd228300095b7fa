"""Engine: which ONNX Runtime is this, and is all there that it is used with?"""

from bitsweep.engines import probing


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Write the versions to `versions`; `Refused` without one of the packages."""
    probing.probe(
        ("onnxruntime", "onnx", "onnxscript"), settings["python_path"], outputs["versions"]
    )
