"""A precision in Relay, as the config has it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from bitsweep.settings import FLOAT_BITS, NUMBER, Section, floats_alone

# What TVM 0.16 can be asked to store integers in, with its width in bits.
STORAGE_BITS = {
    "bool": 1,
    **{f"{sign}int{bits}": bits for bits in (1, 2, 4, 8, 16, 32) for sign in ("", "u")},
}
Storage = Literal[tuple(STORAGE_BITS)]
Floats = Literal["bfloat16", "float16"]

# The operators that `relay.quantize` knows, as `_annotate.py` of TVM 0.16 registers them.
QUANTIZABLE = (
    "nn.contrib_conv2d_NCHWc",
    "nn.conv2d",
    "nn.conv1d",
    "nn.dense",
    "multiply",
    "add",
    "reshape",
    "clip",
    "nn.relu",
    "strided_slice",
    "nn.avg_pool2d",
    "nn.batch_flatten",
    "transpose",
    "annotation.stop_fusion",
    "nn.max_pool2d",
    "nn.max_pool1d",
    "annotation.cast_hint",
    "concatenate",
    "nn.global_avg_pool2d",
    "nn.batch_matmul",
)


def _is_convolution(layer: Any) -> int | str:
    if isinstance(layer, str) or (type(layer) is int and layer >= 0):
        return layer
    raise ValueError("a layer's name is wanted, or its number, from 0 on")


Convolution = Annotated[
    int | str, PlainValidator(_is_convolution, json_schema_input_type=int | str)
]


class Number(Section):
    """How a kind of number is represented: its bits, and the type that stores them."""

    bits: Annotated[int, Field(ge=1, le=32), NUMBER]
    storage: Storage

    @model_validator(mode="after")
    def _fits(self):
        if self.bits > STORAGE_BITS[self.storage]:
            raise ValueError(f"{self.bits} bits do not fit into {self.storage}")
        return self


def _holding(bits: Any) -> str:
    """Say which storages hold so many bits, of which none was given."""
    if bits not in range(1, 33):
        return "allowed are 1 to 32, and a storage that holds them"
    holding = [storage for storage, width in STORAGE_BITS.items() if width >= bits]
    return f"give a storage that holds them: {', '.join(holding)}"


class Relay(Section):
    """A precision in Relay; the fields are those of `relay.quantize.QConfig`, named as there.

    `bits` and `storage` are a short way to set `input` and `weight` alike. `floats` stands alone:
    nothing is quantized then, but computed in these, as far as `relay.transform.ToMixedPrecision`
    goes.
    """

    floats: Floats | None = None
    bits: Annotated[int, Field(ge=1, le=32), NUMBER] | None = None
    storage: Storage | None = None
    input: Number = None  # `_spread` sees to it that these two are there, but for `floats`
    weight: Number = None
    activation: Number = Number(bits=32, storage="int32")
    calibrate_mode: Literal["global_scale", "percentile", "kl_divergence"] = "percentile"
    global_scale: Annotated[float, Field(gt=0), NUMBER] = 8.0
    weight_scale: Literal["power2", "max"] = "max"
    skip_dense_layer: bool = True
    skip_conv_layers: tuple[Convolution, ...] = (0,)
    do_simulation: bool = False
    round_for_shift: bool = True
    rounding: Literal["UPWARD", "TONEAREST"] = "UPWARD"
    debug_enabled_ops: tuple[Literal[QUANTIZABLE], ...] | None = None
    # For kl_divergence. TVM's own default, -1, holds the activations of all layers at once; the
    # scales are the same.
    calibrate_chunk_by: Annotated[int, Field(ge=-1), NUMBER] = 16
    partition_conversions: Literal["disabled", "enabled", "fully_integral"] = "disabled"

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or floats_alone(value).get("floats") is not None:
            return value
        short = {key: value[key] for key in ("bits", "storage") if value.get(key) is not None}
        if len(short) == 2:
            return {"input": short, "weight": short, **value}
        if "bits" in short:
            raise ValueError(f"bits = {short['bits']!r}: {_holding(short['bits'])}")
        if short or not {"input", "weight"} <= value.keys():
            raise ValueError(
                "give bits and storage, or input and weight with both of theirs, or floats"
            )
        return value

    @model_validator(mode="after")
    def _chunked(self):
        if self.calibrate_chunk_by == 0:
            raise ValueError("calibrate_chunk_by is -1 (all layers at once) or at least 1")
        return self

    @property
    def weight_bits(self) -> int:
        return FLOAT_BITS if self.floats else self.weight.bits

    @property
    def activation_bits(self) -> int:
        return FLOAT_BITS if self.floats else self.input.bits

    @property
    def is_calibrated(self) -> bool:
        """Whether it takes the stage `calibrate`'s statistics; TVM's other modes gather their own
        or none."""
        return not self.floats and self.calibrate_mode == "percentile"

    def settings(self) -> dict[str, Any]:
        """What the engine quantizes by, safe in JSON."""
        return self.model_dump(mode="json")
