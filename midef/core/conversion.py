"""What converting a value to its declared type must not do: make a number of a truth value, or of too many digits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from reprlib import Repr
from typing import Any

from midef.core.errors import Problem

LARGEST = 2**63 - 1
"""Largest whole number that tables and random generators can hold."""

_EXPONENT = re.compile(r"[-+]?\d{1,20}[eE][-+]?\d{1,3}")
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlong = 45


def shown(value: Any) -> str:
    """A value as it was written, shortened where it is long."""
    return _SHORT.repr(value)


def exponent_hint(value: Any) -> str:
    """What to write for a number that YAML reads as text, for it has an exponent and no point; "" for all else.

    >>> exponent_hint("1e1"), exponent_hint("many")
    ('; YAML reads 1e1 as text, write 10', '')
    """
    if not isinstance(value, str) or not _EXPONENT.fullmatch(value):
        return ""
    number = float(value)
    return f"; YAML reads {value} as text, write {number:.0f}" if number.is_integer() and abs(number) < LARGEST else ""


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
