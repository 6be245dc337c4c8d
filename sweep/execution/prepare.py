"""Preparing a sweep: plan it, record the plan, write the rows that need no work."""

from __future__ import annotations

import json

from midef.core.errors import DamagedArtifact, MissingArtifact
from midef.storage import Store
from midef.storage.published import refresh_published
from midef.sweep.catalogue.published.rows import published_rows
from midef.sweep.execution.result_rows import measured_rows, refused_rows
from midef.sweep.planning.plan import Plan, make_plan
from midef.sweep.planning.selection import CellFilter, every_cell
from midef.sweep.spec.changes import basis_of
from midef.sweep.spec.resolve import Sweep, without_collections


@without_collections
def prepare(sweep: Sweep, store: Store, *, retry_failed: bool = False, chosen: CellFilter = every_cell) -> Plan:
    """Plan, record the plan, and write rows that need no work: refused cells, cells whose scores are stored.

    Args:
        sweep: all of its cells are recorded.
        store: gains the manifest and the rows; what is damaged in it is set aside and planned again.
        retry_failed: plan cells whose stored result says failed, too.
        chosen: the cells the plan is about.
    """
    plan = make_plan(sweep, store, retry_failed=retry_failed, chosen=chosen)
    _write_manifest(sweep, store)
    if _set_damaged_inputs_aside(plan, store):
        return prepare(sweep, store, retry_failed=retry_failed, chosen=chosen)
    states = store.results.cells()
    for planned in plan.refused:
        if states.get(planned.cell.digest) in (None, "failed"):  # it failed when nobody knew that it cannot work
            store.results.write(planned.cell.digest, refused_rows(sweep.name, planned))
    is_damaged = False
    for planned in plan.rows_only:
        try:
            store.results.write(planned.cell.digest, measured_rows(sweep.name, planned, store))
        except (DamagedArtifact, MissingArtifact) as error:  # of the scores, or of what they judge
            store.artifacts.set_aside(planned.recipes.scores.key, str(error))
            is_damaged = True
    return prepare(sweep, store, retry_failed=retry_failed, chosen=chosen) if is_damaged else plan


def _write_manifest(sweep: Sweep, store: Store) -> None:
    """Record every cell of the sweep; beside our own rows the published ones, where the sweep has any."""
    manifest = [c.manifest_line for c in sweep.cells]
    if any(c.cell.setup.certainty for c in sweep.cells):
        refresh_published(store, published_rows())
    spec = json.dumps({"name": sweep.name, **sweep.spec.model_dump()})
    store.sweeps.write_manifest(sweep.digest, manifest, spec, basis=basis_of(sweep))


def _set_damaged_inputs_aside(plan: Plan, store: Store) -> bool:
    """Verify what the plan starts from, once, here: else each node that needs it would rebuild it for itself."""
    needed = {r.key: r for node in plan.nodes.values() for r in node.recipe.inputs.values() if r.key not in plan.nodes}
    is_damaged = False
    for key in needed:
        try:
            store.artifacts.fetch(key)
        except DamagedArtifact as error:
            store.artifacts.set_aside(key, str(error))
            is_damaged = True
    return is_damaged
