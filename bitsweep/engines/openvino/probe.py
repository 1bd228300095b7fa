"""Engine: which OpenVINO is this, and is NNCF there?"""

from bitsweep.engines import probing


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Write the versions to `versions`; `Refused` without one of the packages."""
    probing.probe(("openvino", "nncf"), settings["python_path"], outputs["versions"])
