"""Which floats a model is to be computed in, kept with it from one stage to the next.

OpenVINO's own hint for that is forgotten by its files: a compiled model's blob takes whatever it is
imported with, and without any the fastest floats that the CPU has.
"""

import openvino

HINT = "INFERENCE_PRECISION_HINT"
_PATH = ["runtime_options", HINT]  # of a model's own notes, where others of the tool's options are
_TRAILER = f"\n{HINT}=".encode()


def note(model: openvino.Model, floats: str) -> None:
    """Note the floats in a model, which its file keeps."""
    model.set_rt_info(floats, _PATH)


def noted(model: openvino.Model) -> str:
    """Return the floats that are noted in a model, float32 for none."""
    return model.get_rt_info(_PATH).astype(str) if model.has_rt_info(_PATH) else "float32"


def joined(blob: bytes, floats: str) -> bytes:
    """Return a blob with the floats after it, which OpenVINO reads past."""
    return blob + _TRAILER + floats.encode()


def parted(module: bytes) -> tuple[bytes, str]:
    """Return the blob and the floats of what `joined` made."""
    blob, _, floats = module.rpartition(_TRAILER)
    return blob, floats.decode()
