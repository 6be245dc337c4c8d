"""Journal of studies: Optuna's own file, with place and checksum in every line, so that damage becomes no number.

Optuna ignores both fields; lines without them, of older stores or of other programs, are read as they are.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file
from typing_extensions import override

from midef.core.errors import StoreError
from midef.storage import Location

CHECKSUM, PLACE = "checksum", "at"
"""Fields of a line: checksum of the others, and the byte of the file at which it begins."""


class CheckedJournal(JournalFileBackend):  # type: ignore[misc]  # optuna's decorator has no types
    """Journal file whose lines carry their place and a checksum.

    Args:
        path: of the file.
        location: of the store, for messages.
    """

    def __init__(self, path: Path, location: Location) -> None:
        self.location = location
        with location.explained("open the journal of studies"):
            super().__init__(str(path))

    @override
    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with (
            self.location.explained("write the journal of studies"),
            get_lock_file(self._lock),
            Path(self._file_path).open("ab") as journal,
        ):
            content, begin = b"", journal.seek(0, os.SEEK_END)
            for log in logs:
                placed = {**log, PLACE: begin + len(content)}
                content += json.dumps({**placed, CHECKSUM: _checksum(placed)}, separators=(",", ":")).encode() + b"\n"
            journal.write(content)
            journal.flush()
            os.fsync(journal.fileno())

    @override
    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Lines from this one on.

        Raises:
            StoreError: at the first damaged line, with its number; the next run sets the journal aside.
        """
        number = log_number_from + 1
        try:
            for log in super().read_logs(log_number_from):
                if reason := _problem(log, self._log_number_offset[number - 1]):
                    raise ValueError(reason)
                yield log
                number += 1
        except (ValueError, RecursionError) as error:  # of JSON and Unicode, too
            raise StoreError(
                f"the journal of studies {self._file_path} is damaged in line {number} ({error}); the same command "
                "sets it aside and goes on, no training is lost"
            ) from error


def first_damaged_line(content: bytes) -> tuple[int, str] | None:
    """Number and problem of the first line that cannot be used; None if all can. The last may be half a line."""
    begin = 0
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            reason = _problem(json.loads(line), begin)
        except (ValueError, RecursionError) as error:
            reason = str(error) or type(error).__name__
        if reason:
            return number, reason
        begin += len(line) + 1
    return None


def _problem(log: Any, begin: int) -> str:
    if not isinstance(log, dict):
        return f"expected an object, got {type(log).__name__}"
    if CHECKSUM in log and log[CHECKSUM] != _checksum(log):
        return "its content does not match its checksum"
    if log.get(PLACE, begin) != begin:
        return f"it was written at byte {log[PLACE]} and stands at {begin}: lines before it are missing or new"
    return ""


def _checksum(log: dict[str, Any]) -> str:
    """Checksum of a line without the field that holds it, however it is spaced."""
    content = {key: value for key, value in log.items() if key != CHECKSUM}
    plain = json.loads(json.dumps(content))
    return f"{zlib.crc32(json.dumps(plain, sort_keys=True).encode()):08x}"
