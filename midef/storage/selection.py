"""The rows of one sweep. Cells are shared between sweeps, so a manifest says which belong to it."""

from __future__ import annotations

import logging
from dataclasses import replace

from midef.core.errors import SpecError, did_you_mean
from midef.core.rows import ResultRow
from midef.storage.store import Store

log = logging.getLogger(__name__)


def rows_of_sweep(store: Store, name: str | None = None) -> list[ResultRow]:
    """Stored rows of the latest plan of sweep `name`; of the latest plan of all where no name is given.

    A cell that another sweep measured first is shown under this sweep's name. Plans that are damaged are passed over
    with a warning; if none is left, rows are chosen by the sweep that measured them.

    Raises:
        SpecError: if no sweep of this name was planned in this store.
    """
    planned: dict[str, set[str]] = {}
    plans = store.sweeps.manifests()
    for _, manifest in plans:  # latest first
        planned.setdefault(manifest.sweep, {str(row["cell"]) for row in manifest.rows})
    chosen = name if name is not None else next(iter(planned), None)
    rows = store.results.read()
    if chosen in planned:
        return [replace(row, sweep=str(chosen)) for row in rows if row.cell in planned[str(chosen)]]
    own = [row for row in rows if name in (None, row.sweep)]
    if own and (name is None or len(plans) < len(store.sweeps.sweeps())):
        log.warning("no plan can be read: rows are chosen by the sweep that measured them, %s", name or "all are shown")
        return own
    return [] if name is None else _unknown(name, planned)


def _unknown(name: str, planned: dict[str, set[str]]) -> list[ResultRow]:
    raise SpecError(f"this store has no sweep {name!r}; {did_you_mean(name, planned)}")
