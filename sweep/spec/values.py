"""Base of the specification's models, and types of values that several of them have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from midef.core.conversion import LARGEST


class Strict(BaseModel):
    """Refuses unknown fields, numbers that are not finite or do not fit in 64 bits, and truth values for numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_what_it_looks_like(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `yes` for a number, which pydantic reads as 1, and whole numbers beyond 64 bits."""
        takes_truth = cls.model_fields[str(info.field_name)].annotation is bool
        if isinstance(value, bool) and not takes_truth:
            raise ValueError("YAML reads yes, no, on, off, true and false as truth values; give another value")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError("does not fit in 64 bits")
        return value


def _component(value: Any) -> Any:
    """Refuse what names no component."""
    if isinstance(value, str) or (isinstance(value, Mapping) and isinstance(value.get("name"), str)):
        return value
    raise ValueError(
        "write a name, name(parameter=value), or a mapping with a name; YAML reads yes, no, on and off as truth values"
    )


ComponentSpec = Annotated[str | dict[str, Any], BeforeValidator(_component)]
"""A component as written: `midre`, `midre:celeba-64`, `midre(area_high=0.8)`, or a mapping with `name`."""


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a seed is a whole number; YAML reads yes, no, on, off, true and false as truth values")
    return _in_range(value) if isinstance(value, int) else value


def _in_range(seed: int) -> int:
    if not 0 <= seed <= LARGEST:
        raise ValueError("seeds must lie between 0 and 2^63-1")
    return seed


Seed = Annotated[int, BeforeValidator(_whole), AfterValidator(_in_range)]
"""A seed: 0 to 2^63-1."""
