"""What to quantize to, and how: the settings of the quantizer."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BITS = range(1, 9)


@dataclass(frozen=True, kw_only=True)
class QConfig:
    """Settings of post-training quantization.

    `weight_bits` and `activation_bits` are 1 to 8. `first_layer_bits` and `last_layer_bits` set the
    first and the last layer (in the order of the graph) apart, weights and inputs; None treats them
    like the others. Layers in `skip_layers` stay float. `layer_bits` has (bits of the weights, bits
    of the input) by the names of layers, over all of these: a tensor that a layer named there reads
    has so many bits, whatever else reads it.

    - `weight_granularity`: one scale per output channel, or one per tensor.
    - `weight_scale`: from the largest magnitude, or least mean squared error.
    - `rounding` of weights: `nearest`; `gptq`, which compensates errors by the second order
      (Frantar et al., 2022, arXiv:2210.17323); `binary`, sign times mean magnitude (Rastegari et
      al., 2016, arXiv:1603.05279), for one bit; what first, last or `layer_bits` give more than one
      bit is then rounded to nearest.
    - `bias_correction`: the mean output of a layer stays what it was (Nagel et al., 2019,
      arXiv:1906.04721); where only one bit is left of it, the bias is each channel's threshold.
    - `activation_scheme`: `affine` fits the zero point, `symmetric` has it in the middle of the
      integers, or at 0 where no value is negative.
    - `calibrate_mode`: how the range of an activation follows from what calibration saw;
      `percentile` is cut at both ends, for the mode of that name.

    Raises `ValueError` for what is out of range.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    first_layer_bits: int | None = None
    last_layer_bits: int | None = None
    skip_layers: tuple[str, ...] = ()
    layer_bits: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict, hash=False)
    weight_granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    weight_scale: Literal["max", "mse"] = "mse"
    rounding: Literal["nearest", "gptq", "binary"] = "gptq"
    bias_correction: bool = True
    activation_scheme: Literal["affine", "symmetric"] = "affine"
    calibrate_mode: Literal["min_max", "moving_average", "percentile", "mse", "kl_divergence"] = (
        "mse"
    )
    percentile: float = 99.99

    # For pydantic, where a configuration file holds these settings: a mistyped key is an error.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def uniform(self, weight_bits: int, input_bits: int) -> "QConfig":
        """Return these settings with the same bits for every layer."""
        return dataclasses.replace(
            self,
            weight_bits=weight_bits,
            activation_bits=input_bits,
            first_layer_bits=None,
            last_layer_bits=None,
            layer_bits={},
        )

    def __post_init__(self):
        for name in ("weight_bits", "activation_bits", "first_layer_bits", "last_layer_bits"):
            bits = getattr(self, name)
            optional = name in ("first_layer_bits", "last_layer_bits")
            if not (bits in BITS or (optional and bits is None)):
                raise ValueError(f"{name} = {bits!r}: allowed are 1 to 8")
        if isinstance(self.skip_layers, str):
            raise ValueError(f"skip_layers = {self.skip_layers!r}: allowed is a tuple of names")
        self._own_layer_bits()
        for field in dataclasses.fields(self):
            allowed = getattr(field.type, "__args__", ())
            value = getattr(self, field.name)
            if isinstance(value, str) and value not in allowed:
                raise ValueError(f"{field.name} = {value!r}: allowed are {', '.join(allowed)}")
        if not 50 < self.percentile <= 100:
            raise ValueError(f"percentile = {self.percentile!r}: allowed are 50 to 100")
        if self.rounding == "binary" and self.weight_bits != 1:
            raise ValueError("rounding = 'binary' is for weight_bits = 1")

    def _own_layer_bits(self):
        """Hold a copy, of tuples, which JSON has no notion of."""
        if not isinstance(self.layer_bits, Mapping):
            raise ValueError(f"layer_bits = {self.layer_bits!r}: allowed are bits by layer name")
        own = {}
        for name, bits in self.layer_bits.items():
            own[name] = tuple(bits) if isinstance(bits, list | tuple) else (bits,)
            if len(own[name]) != 2 or not all(number in BITS for number in own[name]):
                raise ValueError(
                    f"layer_bits.{name} = {bits!r}: allowed are two numbers, the bits of its "
                    "weights and of its input, 1 to 8"
                )
            if name in self.skip_layers:
                raise ValueError(
                    f"layer_bits.{name} = {bits!r}: skip_layers has that layer, which stays float"
                )
        object.__setattr__(self, "layer_bits", own)


PRESETS = {
    "w8a8": QConfig(),
    "w4a8": QConfig(weight_bits=4),
    "w3a8": QConfig(weight_bits=3),
    "w2a8": QConfig(weight_bits=2),
    "w1a8": QConfig(weight_bits=1),
    "w1a8_ends8": QConfig(weight_bits=1, first_layer_bits=8, last_layer_bits=8),
    # Of 15 steps, few are to spare for what is rare: least squared error spends too many on it.
    "w4a4": QConfig(weight_bits=4, activation_bits=4, calibrate_mode="kl_divergence"),
}
"""Sensible settings by name: `w` bits of the weights, `a` bits of the activations."""
