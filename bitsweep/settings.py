"""What all sections of the configuration are made of."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def is_number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


NUMBER = BeforeValidator(is_number)  # Python's True is a 1
Count = Annotated[int, Field(ge=1), NUMBER]
Bits = Annotated[int, Field(ge=1, le=8), NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**32), NUMBER]

FLOAT_BITS = 16  # of the types that `floats` can name


def floats_alone(value: Any) -> Any:
    """Refuse what a section of a precision gives beside `floats`, which are not quantized."""
    given = value if isinstance(value, Mapping) else {}
    others = ", ".join(key for key in given if key != "floats")
    if others and given.get("floats") is not None:
        raise ValueError(f"floats are not quantized, so that {others} cannot be given too")
    return value


def bits_of_floats(section: Any) -> Any:
    """Let the bits of a section, frozen as it is, be those of its `floats` where it has any."""
    if section.floats:
        section.__dict__.update(weight_bits=FLOAT_BITS, activation_bits=FLOAT_BITS)
    return section


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
