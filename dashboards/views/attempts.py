"""Where and when cells were worked on, from the logs that pieces of work leave in the store."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.recipe import ArtifactKey
from midef.results.cells import CellRun

if TYPE_CHECKING:
    from midef.storage import Store

LOG_LINES = 60
"""Lines of the end of a log that the page shows."""
MOST_LOGS = 500
"""Logs that are read; what failed comes first."""
_PIECE = re.compile(r"\b([a-z]+)/([0-9a-f]{10})\b")


@dataclass(frozen=True, kw_only=True)
class Tries:
    """Work on the pieces of one cell that other cells may share.

    Args:
        host: machine of the last attempt; "" where no log is kept.
        started: begin of the first attempt, in UTC.
        seconds: of all attempts that ended.
        retries: attempts beyond the first of any piece; None where no log is kept.
        log: end of the last attempt of what failed.
    """

    host: str = ""
    started: str = ""
    seconds: float | None = None
    retries: int | None = None
    log: str = ""


def tries_of(stores: Sequence[Store], runs: Sequence[CellRun]) -> dict[str, Tries]:
    """Work on each cell, by digest. Cells whose logs are not kept, or too many, have none.

    Args:
        stores: that keep the logs.
        runs: those that failed first.
    """
    logged = _logged(stores)
    found: dict[str, Tries] = {}
    read = 0
    for run in runs:
        keys = [key for key in _keys(run, logged) if key in logged]
        if not keys or read >= MOST_LOGS:
            found[run.cell] = Tries()
            continue
        read += sum(logged[key][1] for key in keys)
        found[run.cell] = _tries([(logged[key][0], key) for key in keys], with_log=run.state == "failed")
    return found


def _logged(stores: Sequence[Store]) -> Mapping[ArtifactKey, tuple[Store, int]]:
    """Store and number of logs by artifact, from one listing of each store."""
    from midef.storage.logs import ROOT

    counts: dict[ArtifactKey, tuple[Store, int]] = {}
    for store in stores:
        for path in store.location.files(ROOT):
            parts = path.split("/")
            if len(parts) == 4 and path.endswith(".log"):
                key = ArtifactKey(parts[1], parts[2])
                holder, count = counts.get(key, (store, 0))
                counts[key] = holder, count + (holder is store)
    return counts


def _keys(run: CellRun, logged: Iterable[ArtifactKey]) -> list[ArtifactKey]:
    """Artifacts of a cell; of one that failed the artifact that its reason names."""
    keys = [ArtifactKey.parse(text) for text in (run.target, run.reconstructions, run.scores) if text]
    if run.state == "failed" and (piece := _PIECE.search(run.reason)):
        keys += [key for key in logged if key.kind == piece[1] and key.digest.startswith(piece[2])]
    return list(dict.fromkeys(keys))


def _tries(pieces: Sequence[tuple[Store, ArtifactKey]], *, with_log: bool) -> Tries:
    from midef.storage.logs import read_attempts

    by_key = [read_attempts(store.location, key) for store, key in pieces]
    attempts = sorted((one for every in by_key for one in every), key=lambda one: one.begun or 0.0)
    if not attempts:
        return Tries()
    begun = [one.begun for one in attempts if one.begun is not None]
    ended = [one.ended - one.begun for one in attempts if one.ended is not None and one.begun is not None]
    failed = [one for one in attempts if one.state not in ("ok", "running")] or attempts
    return Tries(
        host=attempts[-1].host,
        started=time.strftime("%Y-%m-%d %H:%M", time.gmtime(begun[0])) if begun else "",
        seconds=sum(ended) if ended else None,
        retries=sum(max(0, len(every) - 1) for every in by_key),
        log="\n".join(failed[-1].text.splitlines()[-LOG_LINES:]) if with_log else "",
    )
