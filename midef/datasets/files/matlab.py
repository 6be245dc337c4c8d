"""Lists in MATLAB files of version 5, as Stanford's sets have them: cells, structs, text and numbers, nothing else.

scipy's reader ends the process where such a file is damaged; this one raises.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from midef.core.errors import DataError
from midef.datasets.files.limits import text_of

LARGEST_UNPACKED = 2**26
"""64 MiB of a variable: a list has less than ten."""
DEEPEST = 8
COMPRESSED = 15
CELL, STRUCT, CHARACTERS, NUMERIC = 1, 2, 4, range(6, 16)  # classes of arrays
NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}


def read_matlab(path: Path, names: Sequence[str]) -> list[list[Any]]:
    """Variables of a MATLAB file: numbers and cells as lists, structs as lists of dictionaries, text as strings.

    Raises:
        DataError: if the file is not there, is something else, is damaged, or lacks a variable.
    """
    try:
        found = dict(_variables(text_of(path)))
        if lacking := [name for name in names if not isinstance(found.get(name), list)]:
            raise ValueError(f"no list {', '.join(lacking)} in it")
    except (OSError, ValueError, LookupError, struct.error, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a MATLAB file with {', '.join(names)} ({error})") from error
    return [found[name] for name in names]


def plain(value: Any) -> Any:
    """The string or number inside lists of one element.

    Raises:
        IndexError: if there is none.

    >>> plain([["n02085620-Chihuahua/n02085620_5927.jpg"]]), plain([3])
    ('n02085620-Chihuahua/n02085620_5927.jpg', 3)
    """
    while isinstance(value, list):
        value = value[0]
    return value


def _variables(data: bytes) -> Iterator[tuple[str, Any]]:
    if data[124:128] != b"\x00\x01IM":
        raise ValueError("no MATLAB file of version 5, little-endian")
    at = 128
    while at < len(data):
        kind, payload, at = _element(data, at)
        if kind == COMPRESSED:
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(payload, LARGEST_UNPACKED)
            if unpacker.unconsumed_tail:
                raise ValueError(f"a variable of more than {LARGEST_UNPACKED:,} bytes")
            _, payload, _ = _element(unpacked, 0)
        yield _array(payload, 0)


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Kind and bytes of the element at a position, and where the next one begins."""
    kind, size = struct.unpack_from("<II", data, at)
    start, after = at + 8, at + 8 + size + (-size % 8)
    if kind >> 16:  # up to four bytes stand in the second half of the tag
        kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    if kind == COMPRESSED:
        after = start + size  # these alone are not filled up
    if start + size > len(data):
        raise ValueError("it ends too early")
    return kind, data[start : start + size], after


def _array(payload: bytes, depth: int) -> tuple[str, Any]:
    """Name and content of an array."""
    if not payload:
        return "", []
    if depth > DEEPEST:
        raise ValueError("arrays in arrays without end")
    _, flags, at = _element(payload, 0)
    _, sides, at = _element(payload, at)
    _, name, at = _element(payload, at)
    kind, count = flags[0], math.prod(struct.unpack(f"<{len(sides) // 4}i", sides))

    def inner(at: int) -> tuple[Any, int]:
        _, content, after = _element(payload, at)
        return _array(content, depth + 1)[1], after

    content: Any = []
    if kind == CELL:
        for _ in range(count):
            value, at = inner(at)
            content.append(value)
    elif kind == STRUCT:
        _, length, at = _element(payload, at)
        _, fields, at = _element(payload, at)
        width = max(1, struct.unpack("<i", length)[0])
        names = [fields[i : i + width].partition(b"\0")[0].decode("ascii") for i in range(0, len(fields), width)]
        for _ in range(count if names else 0):
            record = {}
            for field in names:
                record[field], at = inner(at)
            content.append(record)
    elif kind == CHARACTERS or kind in NUMERIC:
        stored, values, _ = _element(payload, at)
        if kind == CHARACTERS:
            content = values.decode(ENCODINGS[stored])
        else:
            content = list(
                struct.unpack(f"<{len(values) // struct.calcsize(NUMBERS[stored])}{NUMBERS[stored]}", values)
            )
    else:
        raise ValueError(f"an array of class {kind}")
    return name.decode("ascii"), content
