"""What a plain word of YAML stands for: text, a number, a truth value or null; what readers disagree on is refused."""

from __future__ import annotations

import re

MAX_TEXT = 10_000
"""Longest text, in characters."""
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_OTHER_BASE = re.compile(r"[-+]?0(?:x[0-9a-fA-F_]+|b[01_]+)")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_SIXTY = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")


class Unclear(ValueError):
    """A word that YAML reads in a surprising way, with what to write instead."""


def read_scalar(word: str, *, is_text: bool) -> str | int | float | bool | None:
    """The value of a word. Dates are text; `010`, `1:30` and `.nan` are refused.

    Args:
        word: as written, without quotes.
        is_text: it was written in quotes, or marked as text.

    Raises:
        Unclear: says what to write instead.
    """
    if len(word) > MAX_TEXT:
        raise Unclear(f"a text of {len(word):,} characters; at most {MAX_TEXT:,}")
    if is_text:
        return word
    if word in _NULL:
        return None
    if word.lower() in (*_TRUE, *_FALSE) and word in (word.lower(), word.capitalize(), word.upper()):
        return word.lower() in _TRUE
    if _INT.fullmatch(word):
        return _whole(word, 10)
    if _OTHER_BASE.fullmatch(word):
        return _whole(word, 0)
    if _FLOAT.fullmatch(word):
        number = float(word.replace("_", ""))
        if abs(number) == float("inf"):
            raise Unclear(f"{word[:40]} is larger than a number can be")
        return number
    if _NO_NUMBER.fullmatch(word):
        raise Unclear(f"{word} is no number to work with; give a finite one")
    if _LEADING_ZERO.fullmatch(word):
        raise Unclear(_leading_zero(word))
    if _SIXTY.fullmatch(word):
        raise Unclear(f"YAML reads {word} as a number to base 60; write it in quotes if it is text, 130 for a number")
    return word


def _whole(word: str, base: int) -> int:
    digits = word.replace("_", "")
    if len(digits) > 100:
        raise Unclear(f"a whole number of {len(digits):,} digits; give one that fits in 64 bits")
    return int(digits, base)


def _leading_zero(word: str) -> str:
    digits = word.replace("_", "")
    number = int(digits) if len(digits) <= 100 else "it"
    octal = f" as {int(digits, 8)}, to base 8" if len(digits) <= 100 and not re.search("[89]", digits) else " as text"
    return f"YAML reads {word[:40]}{octal}; write {number} for a number, or quotes for text"
