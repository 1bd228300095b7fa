"""A precision in OpenVINO, as the config has it."""

from typing import Any, Literal

from pydantic import model_validator

from bitsweep.settings import Bits, Section, bits_of_floats, floats_alone


class OpenVino(Section):
    """A precision in OpenVINO: arguments of `nncf.quantize`, named as there, and bits.

    With the preset `performance` activations are symmetric, with `mixed` they are not. `floats`
    stands alone: nothing is quantized then, but computed in these, as its plugin for the CPU is
    asked to by `INFERENCE_PRECISION_HINT`.
    """

    floats: Literal["bfloat16", "float16"] | None = None
    weight_bits: Bits = 8
    activation_bits: Bits = 8
    preset: Literal["performance", "mixed"] = "performance"
    fast_bias_correction: bool = True

    _alone = model_validator(mode="before")(floats_alone)
    _of_floats = model_validator(mode="after")(bits_of_floats)

    @property
    def is_calibrated(self) -> bool:
        """Never: the tool gathers its own statistics."""
        return False

    def settings(self) -> dict[str, Any]:
        """What the engine quantizes by, safe in JSON."""
        return self.model_dump(mode="json")
