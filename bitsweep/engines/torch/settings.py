"""A precision in PyTorch, as the config has it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator

from bitsweep.settings import Section

Type = Literal["quint4x2", "quint8", "qint8"]
_BITS = {"quint4x2": 4, "quint8": 8, "qint8": 8}
_FLOAT_BITS = {"float32": 32, "bfloat16": 16, "float16": 16}


class Torch(Section):
    """A precision in PyTorch: types and observers of its static quantization, named as there.

    Without VNNI `reduce_range`, a bit less for activations, keeps sums of products from saturating.
    Or there are `floats` alone: nothing is quantized, but computed in these, by TorchScript as the
    baseline is, or, where `compiler` is `inductor`, by the code that TorchInductor makes.
    """

    floats: Literal[tuple(_FLOAT_BITS)] | None = None
    compiler: Literal["torchscript", "inductor"] = "torchscript"
    weight_type: Type = "qint8"
    activation_type: Type = "quint8"
    per_channel: bool = True
    reduce_range: bool = False
    observer: Literal["minmax", "histogram"] = "histogram"

    @model_validator(mode="before")
    @classmethod
    def _floats_or_integers(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if value.get("floats") is None:
            if value.get("compiler") == "inductor":
                raise ValueError("inductor compiles floats: give floats, such as float32")
        elif others := ", ".join(key for key in value if key not in ("floats", "compiler")):
            raise ValueError(f"floats are not quantized, so that {others} cannot be given too")
        return value

    @property
    def weight_bits(self) -> int:
        return _FLOAT_BITS[self.floats] if self.floats else _BITS[self.weight_type]

    @property
    def activation_bits(self) -> int:
        return _FLOAT_BITS[self.floats] if self.floats else _BITS[self.activation_type]

    @property
    def is_calibrated(self) -> bool:
        """Never: the tool gathers its own statistics."""
        return False

    def settings(self) -> dict[str, Any]:
        """What the engine quantizes by, safe in JSON."""
        return self.model_dump(mode="json")
