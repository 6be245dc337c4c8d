"""What converting a value to its declared type must not do: make a number of a truth value, or of too many digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from reprlib import Repr
from typing import Any

from midef.core.errors import Problem

LARGEST = 2**63 - 1
"""Largest whole number that tables and random generators can hold."""

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlong = 45


def shown(value: Any) -> str:
    """A value as it was written, shortened where it is long."""
    return _SHORT.repr(value)


def misread(given: Any, made: Any, at: tuple[str | int, ...] = ()) -> Iterator[Problem]:
    """Values that were converted to something nobody meant.

    Args:
        given: as written.
        made: after the conversion to declared types.
        at: keys and positions that lead here.
    """
    if isinstance(made, int | float) and isinstance(given, bool) and not isinstance(made, bool):
        yield Problem("expected a number; YAML reads yes, no, on, off, true and false as truth values", at=at)
    elif isinstance(made, int) and abs(made) > LARGEST:
        yield Problem("does not fit in 64 bits", at=at)
    elif isinstance(given, Mapping):
        for key, value in given.items():
            if is_dataclass(made):
                yield from misread(value, getattr(made, str(key), None), (*at, key))
            elif isinstance(made, Mapping):
                yield from misread(value, made.get(key), (*at, key))
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple):
        for i, pair in enumerate(zip(given, made, strict=False)):
            yield from misread(*pair, (*at, i))
