"""The rows of one sweep. Cells are shared between sweeps, so a manifest says which belong to it."""

from __future__ import annotations

import logging

from midef.core.errors import SpecError
from midef.core.rows import ResultRow
from midef.storage.addresses import StoredSweep, choose_sweep, stored_sweeps
from midef.storage.columns import rows_from_table
from midef.storage.results import Where
from midef.storage.store import Store
from midef.storage.words import with_word

log = logging.getLogger(__name__)


def rows_of_sweep(store: Store, address: str | None = None, where: Where | None = None) -> list[ResultRow]:
    """Stored rows of the plan at an address; of the latest plan of all where none is given.

    A cell that another sweep measured first is shown under this sweep's name. Plans that are damaged are passed over
    with a warning; if none is left, rows are chosen by the sweep that measured them.

    Args:
        store: to read.
        address: name, `name@digest` or digest of a sweep, as `midef.storage.addresses` says.
        where: by columns of words, whether rows with a word are read; all if None.

    Raises:
        SpecError: if no such sweep was planned in this store, or if several were.
    """
    plans = stored_sweeps(store)
    problem: SpecError | None = None
    chosen: StoredSweep | None = None
    try:
        chosen = choose_sweep(plans, address) if address is not None else next(iter(plans), None)
    except SpecError as error:
        problem = error
    if chosen is not None:
        table = store.results.read_encoded(chosen.manifest.cells, where)
        return rows_from_table(with_word(table, "sweep", chosen.name))
    names = None if address is None else (address, address.rpartition("@")[0])
    own = [row for row in store.results.read(where=where) if names is None or row.sweep in names]
    is_known = any(plan.name == address for plan in plans)  # by several plans
    if own and not is_known and (address is None or len(plans) < len(store.sweeps.sweeps())):
        log.warning(
            "no plan can be read: rows are chosen by the sweep that measured them, %s", address or "all are shown"
        )
        return own
    if problem is not None:
        raise problem
    return []
