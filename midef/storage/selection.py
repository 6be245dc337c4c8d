"""The rows of one sweep. Cells are shared between sweeps, so a manifest says which belong to it."""

from __future__ import annotations

from dataclasses import replace

from midef.core.errors import SpecError, did_you_mean
from midef.core.rows import ResultRow
from midef.storage.store import Store


def rows_of_sweep(store: Store, name: str | None = None) -> list[ResultRow]:
    """Stored rows of the latest plan of sweep `name`; of the latest plan of all where no name is given.

    A cell that another sweep measured first is shown under this sweep's name.

    Raises:
        SpecError: if no sweep of this name was planned in this store.
    """
    planned: dict[str, set[str]] = {}
    for digest, _ in store.sweeps.sweeps():  # latest first
        manifest = store.sweeps.read_manifest(digest)
        planned.setdefault(manifest.sweep, {str(row["cell"]) for row in manifest.rows})
    if not planned:
        return [] if name is None else _unknown(name, planned)
    chosen = name if name is not None else next(iter(planned))
    if chosen not in planned:
        return _unknown(chosen, planned)
    return [replace(row, sweep=chosen) for row in store.results.read() if row.cell in planned[chosen]]


def _unknown(name: str, planned: dict[str, set[str]]) -> list[ResultRow]:
    raise SpecError(f"this store has no sweep {name!r}; {did_you_mean(name, planned)}")
