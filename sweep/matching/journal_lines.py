"""Lines of the journal of studies: each knows its place in the file and its checksum. Loads without Optuna."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

JOURNAL = "studies/journal.log"
"""The journal, below the store."""
CHECKSUM, PLACE = "checksum", "at"
"""Fields of a line: checksum of the others, and the byte of the file at which it begins."""


def first_damaged_line(content: bytes) -> tuple[int, str] | None:
    """Number and problem of the first line that cannot be used; None if all can. The last may be half a line."""
    begin = 0
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            reason = line_problem(json.loads(line), begin)
        except (ValueError, RecursionError) as error:
            reason = str(error) or type(error).__name__
        if reason:
            return number, reason
        begin += len(line) + 1
    return None


def readable_lines(content: bytes) -> Iterator[dict[str, Any]]:
    """Lines that are JSON objects, wherever they stand."""
    for line in content.split(b"\n"):
        with suppress(ValueError, RecursionError):
            log = json.loads(line)
            if isinstance(log, dict):
                yield log


def line_problem(log: Any, begin: int) -> str:
    """What is wrong with a line; "" if nothing is.

    Args:
        log: the line, read as JSON.
        begin: byte of the file at which it begins.
    """
    if not isinstance(log, dict):
        return f"expected an object, got {type(log).__name__}"
    if CHECKSUM in log and log[CHECKSUM] != checksum(log):
        return "its content does not match its checksum"
    if log.get(PLACE, begin) != begin:
        return f"it was written at byte {log[PLACE]} and stands at {begin}: lines before it are missing or new"
    return ""


def checksum(log: dict[str, Any]) -> str:
    """Checksum of a line without the field that holds it, however it is spaced."""
    content = {key: value for key, value in log.items() if key != CHECKSUM}
    plain = json.loads(json.dumps(content))
    return f"{zlib.crc32(json.dumps(plain, sort_keys=True).encode()):08x}"
