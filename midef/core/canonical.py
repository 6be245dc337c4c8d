"""Canonical JSON: equal values have equal text, so that equal recipes have equal keys."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from json.encoder import encode_basestring_ascii
from typing import Any

from typing_extensions import override

ADDED_LATER: Mapping[str, Any] = {"added_later": True}
"""Metadata of a dataclass field that older keys lack: left out of a key where it has its default, "as before"."""

quoted = encode_basestring_ascii
"""A text as JSON writes it."""
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


class Plain(dict[str, Any]):
    """A mapping that `plain` returned, so that it is neither copied nor written out a second time.

    The recipes of a sweep share most of their parameters; read it, never change it.
    """

    __slots__ = ("_json",)
    _json: str

    @property
    def json(self) -> str:
        """Its `canonical_json`."""
        try:
            return self._json
        except AttributeError:
            self._json = _mapping(self)
            return self._json

    def changed(self, name: str, value: Any) -> Plain:
        """A copy with another value, itself plain, under a name that it has."""
        if name not in self:
            raise KeyError(f"expected one of {', '.join(self)}, got {name!r}")
        copy = Plain(self)
        copy[name] = value
        return copy

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return Plain, (dict(self),)


_AS_THEY_ARE = frozenset({type(None), bool, str, int, Plain})
_TEXT = frozenset({str})


def plain(value: Any) -> Any:
    """`value` as JSON data: dataclasses to dictionaries, tuples to lists, -0.0 to 0.0.

    What it has returned before comes back as it is.

    Raises:
        ValueError: for NaN or infinity (NaN is not equal to itself, so it cannot be part of a key).
        TypeError: for anything that has no JSON form.
    """
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, bool | str | int) and not isinstance(value, Enum):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be part of a recipe; give a finite number")
        return value + 0.0
    if isinstance(value, dict | Mapping):  # the first is found at once
        if not _TEXT.issuperset(map(type, value)) and not all(isinstance(k, str) for k in value):
            raise TypeError("recipe mappings need text keys")
        return Plain((k, plain(value[k])) for k in sorted(value))
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return Plain((f.name, plain(getattr(value, f.name))) for f in keyed_fields(value))
    raise TypeError(f"{type(value).__name__} cannot be part of a recipe; use numbers, text, lists or mappings")


def keyed_fields(value: Any) -> Iterator[Field[Any]]:
    """The fields of a dataclass that are part of a key: all but those `ADDED_LATER` that have their default."""
    for f in fields(value):
        if not (f.metadata.get("added_later") and getattr(value, f.name) == f.default):
            yield f


def canonical_json(value: Any) -> str:
    """The canonical JSON text of `value`: sorted keys, no spaces."""
    return json_of_plain(plain(value))


def json_of_plain(value: Any) -> str:
    """`canonical_json` of what `plain` returned, not walked through again: a plan names thousands of recipes."""
    if type(value) is Plain:
        return value.json
    if type(value) is dict:
        return _mapping(value)
    if type(value) is str:
        return quoted(value)
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)  # as the encoder writes them
    if type(value) is list:
        return "[" + ",".join([json_of_plain(one) for one in value]) + "]"
    return _ENCODER.encode(value)


def _mapping(value: Mapping[str, Any]) -> str:
    """Put together from the texts its parts already have."""
    return "{" + ",".join([f"{quoted(name)}:{json_of_plain(value[name])}" for name in sorted(value)]) + "}"


def digest(value: Any) -> str:
    """sha256 (64 hex digits) of the canonical JSON of `value`."""
    return sha256(canonical_json(value))


def sha256(text: str) -> str:
    """sha256 of a text in UTF-8, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()
