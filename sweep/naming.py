"""The name of a sweep in a store: whose it is, and when another specification may have it.

A specification is the same as that of a stored plan if it gives the same cells, or if no key differs that says what
a cell is. So a changed number of processes, moved files with the same content, defaults that are written out, and a
longer search of strengths are no change; a new seed, defense or metric is one. The same specification whose cells
changed (a new version of a component, other images in a folder, a weight file that arrived, other strengths found) is
planned anew under its name. A sweep that was run may be matched, or its front searched, and run again: the latest of
these has the name, since another verb was asked for. A match to another accuracy is a change. Whatever happens, no
plan, row or artifact is deleted: a plan that lost its name has its digest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core.canonical import digest
from midef.core.errors import SpecError
from midef.storage import Store
from midef.storage.addresses import StoredSweep, choose_sweep, stored_sweeps
from midef.sweep.spec.changes import Change, basis_of, changes

if TYPE_CHECKING:
    from midef.sweep.spec.resolve import Sweep
    from midef.sweep.spec.schema import SweepSpec

_SHOWN = 12
SEARCHES = ("match", "front")
"""Keys of what `midef match` searches."""


@dataclass(frozen=True)
class Naming:
    """Plans of a store that have the name of a sweep.

    Args:
        same: digests of those of the same specification.
        kin: addresses of those that differ in what is searched: strengths for an accuracy, a front, or nothing.
        others: digests of those of another one, which the sweep may take the name from.
    """

    same: tuple[str, ...] = ()
    kin: tuple[StoredSweep, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def is_resumed(self) -> bool:
        """Whether the sweep was planned here before."""
        return bool(self.same)

    def settle(self, sweep: Sweep, store: Store, *, replace: bool) -> None:
        """Give the sweep its name, once its plan is stored."""
        if self.others and not replace:
            return  # an older midef let two have it; it stays so until somebody says which one is meant
        store.sweeps.give_name(sweep.digest, [*self.same, *(plan.digest for plan in self.kin), *self.others])


def stored_spec(source: str, store: Store) -> SweepSpec | None:
    """The specification of a planned sweep, as it was planned; None if `source` is a YAML file or another sweep's name.

    Args:
        source: a YAML file, or name, `name@digest` or digest of a sweep.
        store: that holds the plan.

    Raises:
        SpecError: if several sweeps are meant, a digest is not there, or the plan is that of an audit.
    """
    from midef.sweep.catalogue import named_sweeps
    from midef.sweep.spec.document import Document
    from midef.sweep.spec.lines import Lines
    from midef.sweep.spec.load import parse_document

    if Path(source).suffix in (".yaml", ".yml"):
        return None
    sweeps = stored_sweeps(store)
    if source in named_sweeps() and all(plan.name != source for plan in sweeps):
        return None
    plan = choose_sweep(sweeps, source)
    spec = json.loads(plan.manifest.spec_json)
    if "audit" in spec or "collection" in spec:
        what = "the audit of a model, which `midef audit` goes on with" if "audit" in spec else "a list of single cells"
        raise SpecError(f"{plan.address} is no sweep but {what}")
    return parse_document(Document(spec, Lines(plan.address)))


def check_name(sweep: Sweep, store: Store | None, *, replace: bool = False) -> Naming:
    """See whether a sweep may have its name in a store.

    Args:
        sweep: that will be planned.
        store: None where there is none yet.
        replace: take the name from another specification.

    Raises:
        SpecError: if another specification has it; says which keys differ, and what to do.
    """
    if store is None:
        return Naming()
    named = [plan for plan in stored_sweeps(store) if plan.name == sweep.name]
    holders = [plan for plan in named if not plan.replaced_by] or named
    differing = {plan.digest: _changes(plan, sweep) for plan in holders}
    same = tuple(plan.digest for plan in holders if differing[plan.digest] is None)
    kin = tuple(plan for plan in holders if differing[plan.digest] == [])
    others = [plan for plan in holders if differing[plan.digest]]
    if others and not same and not kin and not replace:
        raise SpecError(_refusal(others[0], differing[others[0].digest] or [], sweep, store))
    return Naming(same, kin, tuple(plan.digest for plan in others))


def name_conflict(sweep: Sweep, store: Store | None) -> str:
    """Why a run of the sweep would not start under its name, and what to do; "" if it would."""
    try:
        check_name(sweep, store)
    except SpecError as error:
        return str(error)
    return ""


def _changes(plan: StoredSweep, sweep: Sweep) -> list[Change] | None:
    """Keys in which a sweep differs from a stored plan; None if it is the same specification, none if it is its kin."""
    spec = json.loads(plan.manifest.spec_json)
    searches = [name for name in SEARCHES if bool(spec.get(name)) != bool(getattr(sweep.spec, name))]
    found, basis = changes(spec, sweep.spec), basis_of(sweep)
    if not (found or searches or basis):
        return None  # without naming every cell
    written = basis or digest(sorted(planned.cell.digest for planned in sweep.cells))
    is_equal = written == (plan.manifest.basis or digest(sorted(plan.manifest.cells)))
    if searches:
        return [] if is_equal else [change for change in found if change.place[0] not in SEARCHES]
    if not basis:
        return None if is_equal else found
    is_moved = all(change.is_path for change in found) and (is_equal or not plan.manifest.basis)
    in_search = [change for change in found if change.place[0] in SEARCHES]
    return None if is_moved or (is_equal and not in_search) else found or None


def _refusal(plan: StoredSweep, found: Sequence[Change], sweep: Sweep, store: Store) -> str:
    stored = store.results.cells()
    cells, new = plan.manifest.cells, {planned.cell.digest for planned in sweep.cells}
    done = sum(cell in stored for cell in cells)
    lines = [f"  {change.text}" for change in found[:_SHOWN]]
    lines += [f"  and {len(found) - _SHOWN} more keys"] if len(found) > _SHOWN else []
    kinds = {"audit": "the audit of a model", "collection": "a list of cells that were built one by one"}
    spec = json.loads(plan.manifest.spec_json)
    lines = [f"  it is {text}" for kind, text in kinds.items() if kind in spec] or lines
    return "\n".join(
        [
            f"the store has another sweep called {sweep.name}: {plan.text}. What differs:",
            *lines,
            f"{done} of its {len(cells)} cells have results; {len(cells & new)} are in the new sweep too.",
            f"Give the new one another name (--set name={sweep.name}-2), or add --replace:",
            f"{sweep.name} then means the new one, and the old one stays as {plan.address}.",
        ]
    )
