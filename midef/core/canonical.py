"""One spelling for equal values, so that equal recipes have equal keys."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any


def plain(value: Any) -> Any:
    """`value` as JSON data: dataclasses to dictionaries, tuples to lists, -0.0 to 0.0.

    Raises:
        ValueError: for NaN or infinity (NaN is not equal to itself, so it cannot be part of a key).
        TypeError: for anything that has no JSON form.
    """
    if value is None or (isinstance(value, bool | str | int) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be part of a recipe; give a finite number")
        return value + 0.0
    if isinstance(value, Mapping):
        if not all(isinstance(k, str) for k in value):
            raise TypeError("recipe mappings need text keys")
        return {k: plain(value[k]) for k in sorted(value)}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    raise TypeError(f"{type(value).__name__} cannot be part of a recipe; use numbers, text, lists or mappings")


def canonical_json(value: Any) -> str:
    """The one JSON text of `value`: sorted keys, no spaces."""
    return json_of_plain(plain(value))


def json_of_plain(value: Any) -> str:
    """`canonical_json` of what `plain` returned, not walked through again: a plan names thousands of recipes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def digest(value: Any) -> str:
    """sha256 (64 hex digits) of the canonical JSON of `value`."""
    return sha256(canonical_json(value))


def sha256(text: str) -> str:
    """64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()
