"""A precision in ONNX Runtime, as the config has it."""

import re
from typing import Any, Literal

from pydantic import model_validator

from bitsweep.settings import FLOAT_BITS, Section, floats_alone

Type = Literal["int4", "uint4", "int8", "uint8", "int16", "uint16"]


class OnnxRuntime(Section):
    """A precision in ONNX Runtime: arguments of its `quantize_static`, named as there.

    VNNI multiplies `uint8` by `int8`. Without it `reduce_range`, a bit less for weights, keeps sums
    of products from saturating. `floats` stands alone: nothing is quantized then, but computed in
    these, as far as `onnxruntime.transformers.float16` converts a model.
    """

    floats: Literal["float16"] | None = None
    weight_type: Type = "int8"
    activation_type: Type = "uint8"
    per_channel: bool = True
    reduce_range: bool = False
    calibrate_method: Literal["minmax", "entropy", "percentile", "distribution"] = "minmax"

    _alone = model_validator(mode="before")(floats_alone)

    @property
    def weight_bits(self) -> int:
        return FLOAT_BITS if self.floats else _bits(self.weight_type)

    @property
    def activation_bits(self) -> int:
        return FLOAT_BITS if self.floats else _bits(self.activation_type)

    @property
    def is_calibrated(self) -> bool:
        """Never: the tool gathers its own statistics."""
        return False

    def settings(self) -> dict[str, Any]:
        """What the engine quantizes by, safe in JSON."""
        return self.model_dump(mode="json")


def _bits(type_name: str) -> int:
    return int(re.sub(r"\D", "", type_name))
