"""State of a cell, as the file of its rows says it in a few bytes."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import astuple, dataclass

import pyarrow as pa

from midef.core.rows import ROW_SCHEMA_VERSION
from midef.storage.words import words_of

STATE_KEY = b"midef_state"
_MAGIC = b"PAR1"
_SUMMARY = re.compile(rb"midef_state:([0-9a-f]{8}):([0-9a-f]{8}):")


@dataclass(frozen=True)
class CellState:
    """Worst state of a cell.

    Args:
        status: the one of its rows that weighs most, `failed` before `ok` before `refused`.
        reason, failure: of the first row with that status; "" where all is well.
    """

    status: str
    reason: str = ""
    failure: str = ""


def with_state(table: pa.Table, cell: str, state: CellState) -> pa.Table:
    """The table of one cell whose file says in a few bytes what became of the cell, for `state_in` to find."""
    content = json.dumps([ROW_SCHEMA_VERSION, cell, *astuple(state)]).encode()
    summary = b"midef_state:%08x:%08x:%s" % (zlib.crc32(content), len(content), content)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), STATE_KEY: summary})


def state_in(content: bytes, cell: str) -> CellState | None:
    """State that `with_state` put into the file of a cell; None where the columns must be asked.

    Decoding the footer of a file costs more than all else about a status: every column is described there. So it
    is not decoded but searched, and what is found there proves itself by its checksum.
    """
    footer = int.from_bytes(content[-8:-4], "little") if content[-4:] == _MAGIC == content[:4] else 0
    if not 0 < footer <= len(content) - 12:
        return None
    match = _SUMMARY.search(content, len(content) - 8 - footer)
    if match is None:
        return None
    summary = content[match.end() : match.end() + int(match[2], 16)]
    if zlib.crc32(summary) != int(match[1], 16):
        return None
    version, of, *state = json.loads(summary)
    return CellState(*state) if version <= ROW_SCHEMA_VERSION and of == cell else None


# A failure is unfinished business: a cell with one has something to retry. A metric that does not apply spoils no cell.
_WEIGHT = {"refused": 0, "ok": 1, "failed": 2}
STATE_COLUMNS = ("cell", "status", "reason", "failure")


def worst_states(table: pa.Table) -> dict[str, CellState]:
    """State of each cell: of its first row with the status that weighs most.

    Args:
        table: with `STATE_COLUMNS`.
    """
    import numpy as np

    cells, *parts = (words_of(table[name]) for name in STATE_COLUMNS)
    weights = np.array([_WEIGHT.get(status, 2) for status in parts[0].texts], np.int8)[parts[0].places]
    lines = np.zeros(len(cells.texts), np.int64)
    for weight in sorted(set(_WEIGHT.values())):
        latest_first = np.flatnonzero(weights == weight)[::-1]
        lines[cells.places[latest_first]] = latest_first  # of several the last one given stays
    said = np.stack([part.places[lines] for part in parts])
    kinds, of_cell = np.unique(said, axis=1, return_inverse=True)
    states = np.empty(kinds.shape[1], object)
    states[:] = [CellState(*(part.texts[i] for part, i in zip(parts, kind, strict=True))) for kind in kinds.T.tolist()]
    return dict(zip(cells.texts, states[of_cell.ravel()].tolist(), strict=True))
