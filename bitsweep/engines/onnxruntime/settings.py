"""A precision in ONNX Runtime, as the config has it."""

import re
from typing import Any, Literal

from bitsweep.settings import Section

Type = Literal["int4", "uint4", "int8", "uint8", "int16", "uint16"]


class OnnxRuntime(Section):
    """A precision in ONNX Runtime: arguments of its `quantize_static`, named as there.

    VNNI multiplies `uint8` by `int8`. Without it `reduce_range`, a bit less for weights, keeps sums
    of products from saturating.
    """

    weight_type: Type = "int8"
    activation_type: Type = "uint8"
    per_channel: bool = True
    reduce_range: bool = False
    calibrate_method: Literal["minmax", "entropy", "percentile", "distribution"] = "minmax"

    @property
    def weight_bits(self) -> int:
        return _bits(self.weight_type)

    @property
    def activation_bits(self) -> int:
        return _bits(self.activation_type)

    @property
    def is_calibrated(self) -> bool:
        """Never: the tool gathers its own statistics."""
        return False

    def settings(self) -> dict[str, Any]:
        """What the engine quantizes by, safe in JSON."""
        return self.model_dump(mode="json")


def _bits(type_name: str) -> int:
    return int(re.sub(r"\D", "", type_name))
