"""What all sections of the configuration are made of."""

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


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
