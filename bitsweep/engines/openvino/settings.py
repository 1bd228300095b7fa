"""A precision in OpenVINO, as the config has it."""

from typing import Any, Literal

from bitsweep.settings import Bits, Section


class OpenVino(Section):
    """A precision in OpenVINO: arguments of `nncf.quantize`, named as there, and bits.

    With the preset `performance` activations are symmetric, with `mixed` they are not.
    """

    weight_bits: Bits = 8
    activation_bits: Bits = 8
    preset: Literal["performance", "mixed"] = "performance"
    fast_bias_correction: bool = True

    @property
    def is_calibrated(self) -> bool:
        """Never: the tool gathers its own statistics."""
        return False

    def settings(self) -> dict[str, Any]:
        """What the engine quantizes by, safe in JSON."""
        return self.model_dump(mode="json")
