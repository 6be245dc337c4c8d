"""Journal of studies: Optuna's own file, with place and checksum in every line, so that damage becomes no number.

Optuna ignores both fields; lines without them, of older stores or of other programs, are read as they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file
from typing_extensions import override

from midef.core.errors import StoreError
from midef.storage import Location
from midef.sweep.matching.journal_lines import CHECKSUM, PLACE, checksum, line_problem


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
                content += json.dumps({**placed, CHECKSUM: checksum(placed)}, separators=(",", ":")).encode() + b"\n"
            journal.write(content)
            journal.flush()
            os.fsync(journal.fileno())

    @override
    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Lines from this one on.

        Raises:
            StoreError: at the first damaged line, with its number; the next run sets the journal aside.
        """
        path = Path(self._file_path)
        size = path.stat().st_size if path.exists() else -1
        if size < self._log_number_offset.get(log_number_from, 0):
            raise StoreError(
                f"the journal of studies {path} was replaced by another program; the same command goes on with the new "
                "one, no training is lost"
            )
        number = log_number_from + 1
        try:
            for log in super().read_logs(log_number_from):
                if reason := line_problem(log, self._log_number_offset[number - 1]):
                    raise ValueError(reason)
                yield log
                number += 1
        except (ValueError, RecursionError) as error:  # of JSON and Unicode, too
            raise StoreError(
                f"the journal of studies {self._file_path} is damaged in line {number} ({error}); the same command "
                "sets it aside and goes on, no training is lost"
            ) from error
