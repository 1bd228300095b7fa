"""A precision in Relax, as the config has it: settings, or what a search is for."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic.dataclasses
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    field_validator,
    model_validator,
)

from bitsweep.relax import plan
from bitsweep.relax.config import PRESETS, QConfig
from bitsweep.settings import (
    NUMBER,
    Bits,
    Count,
    Section,
    bits_of_floats,
    floats_alone,
    is_number,
)


class LayerBits(Section):
    """Bits of a layer's weights and of its input."""

    weight_bits: Bits
    input_bits: Bits


def _planned(path: Any) -> dict[str, tuple[int, int]]:
    if not isinstance(path, str):
        raise ValueError("the path of a plan is wanted")
    try:
        return plan.read(path)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from None


def _pairs(layers: Mapping[str, LayerBits]) -> dict[str, tuple[int, int]]:
    return {name: (bits.weight_bits, bits.input_bits) for name, bits in layers.items()}


class Goal(Section):
    """What a search is for: the fewest `bytes` or the least `latency` with a top-1 at most
    `tolerance` points below float32's, or the least `error` within so many `bytes` or `latency_ms`.
    """

    minimise: Literal["bytes", "latency", "error"]
    tolerance: Annotated[float, Field(ge=0, le=100), NUMBER] | None = None
    bytes: Count | None = None
    latency_ms: Annotated[float, Field(gt=0), NUMBER] | None = None

    @model_validator(mode="after")
    def _bounded(self):
        budget = self.bytes is not None or self.latency_ms is not None
        if self.minimise == "error" and (self.tolerance is not None or not budget):
            raise ValueError("to minimise error, give bytes or latency_ms, and no tolerance")
        if self.minimise != "error" and (self.tolerance is None or budget):
            raise ValueError(
                f"to minimise {self.minimise}, give the tolerance, in points of top-1, and no "
                "budget"
            )
        return self

    @property
    def is_timed(self) -> bool:
        """Whether it needs to know how long layers take."""
        return self.minimise == "latency" or self.latency_ms is not None


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Relax(QConfig):
    """A precision in Relax: the settings of `bitsweep.relax`, over those of a `preset`.

    `plan`, the path of a file, has `layer_bits` under those given here. A `search` stands alone:
    its other settings are those of the config's section `search`. So do `floats`: nothing is
    quantized then, but layers multiply these.
    """

    floats: Literal["bfloat16"] = None
    search: Goal | None = None
    layer_bits: Annotated[dict[str, LayerBits], AfterValidator(_pairs)] = dataclasses.field(
        default_factory=dict, hash=False
    )
    plan: Annotated[
        dict[str, tuple[int, int]], PlainValidator(_planned, json_schema_input_type=str)
    ] = dataclasses.field(default_factory=dict, hash=False)
    preset: Literal[tuple(PRESETS)] = None

    _numbers = field_validator(
        *(f.name for f in dataclasses.fields(QConfig) if f.type in (int, int | None, float)),
        mode="before",
    )(is_number)

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("search") and len(value) > 1:
            others = ", ".join(key for key in value if key != "search")
            raise ValueError(
                f"a search chooses the bits, so that {others} cannot be given beside it; what all "
                "searches quantize by is in search.settings"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: Any) -> Any:
        preset = value.get("preset") if isinstance(value, Mapping) else None
        if preset not in tuple(PRESETS):
            return value
        return {**dataclasses.asdict(PRESETS[preset]), **value}

    # the last, which is asked first: of what is given, not of what is filled in
    _floats_alone = model_validator(mode="before")(floats_alone)
    _of_floats = model_validator(mode="after")(bits_of_floats)

    @property
    def is_calibrated(self) -> bool:
        """Whether it takes the stage `calibrate`'s statistics."""
        return not self.floats

    @property
    def planned_bits(self) -> dict[str, tuple[int, int]]:
        """The bits of layers, of the plan and over it."""
        return {**self.plan, **self.layer_bits}

    def settings(self) -> dict[str, Any]:
        """What the engine quantizes by, safe in JSON: `QConfig`'s fields, or `floats`."""
        if self.floats:
            return {"floats": self.floats}
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(QConfig)}
        fields["layer_bits"] = self.planned_bits
        return json.loads(json.dumps(fields))
