"""What a page is made from: rows, plans and reports of sweeps, of one store or several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core import ArtifactKey, MissingArtifact, ResultRow, SpecError
from midef.core.match import MatchReport
from midef.dashboards.views.base import Matched, Plan

if TYPE_CHECKING:
    from midef.storage import Manifest, Store
    from midef.storage.addresses import StoredSweep


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Everything that is read from the stores.

    Args:
        stores: in the order they were given.
        name: of all of them, for the page.
        rows: measured rows.
        published: published numbers.
        plans: of the sweeps.
        matchings: of each sweep that was matched.
        unfinished: planned cells without a result; None where no plan is known.
        warnings: what could not be read, or is not shown.
    """

    stores: tuple[Store, ...]
    name: str
    rows: tuple[ResultRow, ...]
    published: tuple[ResultRow, ...]
    plans: tuple[Plan, ...]
    matchings: tuple[Matched, ...]
    unfinished: int | None
    warnings: tuple[str, ...]

    def fetch(self, key: ArtifactKey) -> Path:
        """Folder of an artifact, from the first store that has it.

        Raises:
            MissingArtifact, DamagedArtifact: as a store does.
        """
        problem: MissingArtifact | None = None
        for store in self.stores:
            try:
                return store.artifacts.fetch(key)
            except MissingArtifact as error:
                problem = problem or error
        raise problem or MissingArtifact(f"{key.short}: no store was given")


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One sweep of one store."""

    store: Store
    name: str
    rows: tuple[ResultRow, ...]
    plan: Manifest | None
    digest: str
    matching: MatchReport | None
    unfinished: int | None


def read_sources(uris: Sequence[str], sweeps: Sequence[str] = ()) -> Sources:
    """Sweeps of stores.

    Args:
        uris: of the stores, at least one.
        sweeps: name, `name@digest` or digest, each looked for in every store; the latest of each store if empty.

    Raises:
        StoreError: if a store is not there, or cannot be read.
        SpecError: naming every sweep that no store knows, neither planned nor matched.
    """
    from midef.storage import Store
    from midef.storage.published import read_published

    stores = [Store.open(uri, create=False) for uri in dict.fromkeys(uris)]
    names = _store_names(stores)
    parts: list[_Part] = []
    warnings: list[str] = []
    problems: dict[str, list[SpecError]] = {}
    for store, name in zip(stores, names, strict=True):
        stored = store.results.cells().keys()
        reports, unread = _reports(store)
        warnings += unread
        for sweep in dict.fromkeys(sweeps) or [None]:
            try:
                parts.append(_part(store, name, sweep, stored, reports))
            except SpecError as error:
                problems.setdefault(str(sweep), []).append(error)
    nowhere = [str(errors[0]) for errors in problems.values() if len(errors) == len(stores)]
    if nowhere:
        raise SpecError(nowhere)
    known = [part.unfinished for part in parts if part.unfinished is not None]
    published = {row: None for store in stores for row in read_published(store)}
    return Sources(
        stores=tuple(stores),
        name=", ".join(names),
        rows=tuple(row for part in _told_apart(parts) for row in part.rows),
        published=tuple(published),
        plans=tuple(
            Plan(_sweep_of(part), part.plan.spec_json, part.plan.rows, part.name)
            for part in _told_apart(parts)
            if part.plan is not None
        ),
        matchings=tuple(Matched(part.matching, part.name) for part in parts if part.matching is not None),
        unfinished=sum(known) if known else None,
        warnings=tuple(warnings),
    )


def _part(store: Store, name: str, sweep: str | None, done: Collection[str], reports: Sequence[MatchReport]) -> _Part:
    from midef.storage import rows_of_sweep

    if sweep is not None and sweep not in _planned(store) and any(report.sweep == sweep for report in reports):
        rows: Sequence[ResultRow] = []  # its strengths are searched, nothing is attacked yet
    else:
        rows = rows_of_sweep(store, sweep)
    plan = _plan(store, sweep)
    cells = frozenset[str]() if plan is None else plan.manifest.cells
    return _Part(
        store=store,
        name=name,
        rows=tuple(rows),
        plan=None if plan is None else plan.manifest,
        digest="" if plan is None else plan.digest,
        matching=_matching(store, sweep, rows, reports),
        unfinished=len(cells - set(done)) if cells and (not done or not cells.isdisjoint(done)) else None,
    )


def _sweep_of(part: _Part) -> str:
    """The sweep as its rows name it, else as its plan does."""
    return part.rows[0].sweep if part.rows else part.plan.sweep if part.plan is not None else ""


def _told_apart(parts: Sequence[_Part]) -> list[_Part]:
    """The parts, with the store behind the name of a sweep that several stores have, with the digest where one store
    has several: they are not one sweep."""
    counts = Counter(_sweep_of(part) for part in parts)
    in_store = Counter((part.name, _sweep_of(part)) for part in parts)
    told = []
    for part in parts:
        sweep = _sweep_of(part)
        if counts[sweep] < 2:
            told.append(part)
            continue
        own = f"@{part.digest[:10]}" if in_store[part.name, sweep] > 1 else ""
        where = f" ({part.name})" if counts[sweep] > in_store[part.name, sweep] else ""
        rows = tuple(replace(row, sweep=f"{sweep}{own}{where}") for row in part.rows)
        told.append(replace(part, rows=rows))
    return told


def _store_names(stores: Sequence[Store]) -> list[str]:
    """Short names, and longer ones where two are the same."""
    names = [shown_name(store.uri) for store in stores]
    return [name if names.count(name) == 1 else f"{name} {number}" for number, name in enumerate(names, 1)]


def shown_name(uri: str) -> str:
    """A store's name for the page: a bucket as it is, a folder without the path, which says who built the page."""
    return uri if "://" in uri and not uri.startswith("file:") else uri.rstrip("/").rpartition("/")[2]


def _plan(store: Store, sweep: str | None) -> StoredSweep | None:
    """The plan at an address, the latest without one; None of a sweep without a plan."""
    from midef.storage.addresses import choose_sweep, stored_sweeps

    plans = stored_sweeps(store)
    try:
        return next(iter(plans), None) if sweep is None else choose_sweep(plans, sweep)
    except SpecError:  # its strengths are searched, or its plan is damaged
        return None


def _reports(store: Store) -> tuple[list[MatchReport], tuple[str, ...]]:
    """Reports of accuracy matching, latest first, and a warning for each that cannot be read."""
    from midef.storage.matches import read_matches

    problems: list[str] = []
    reports = read_matches(store, problems=problems)
    return reports, tuple(f"accuracy matching is not shown: {problem}" for problem in problems)


def _matching(
    store: Store, sweep: str | None, rows: Sequence[ResultRow], reports: Sequence[MatchReport]
) -> MatchReport | None:
    """The latest report of the sweep that is shown; where its rows were matched, of the one they were matched by."""
    names = {row.sweep for row in rows} or {sweep or name for name in _planned(store)[:1] or [""]} - {""}
    candidates = [report for report in reports if not names or report.sweep in names]
    shown = {round(row.match_target, 4) for row in rows if row.match_target is not None}
    if shown:
        candidates = [r for r in candidates if shown & {round(o.target, 4) for o in r.outcomes if o.target is not None}]
    return next(iter(candidates), None)


def _planned(store: Store) -> list[str]:
    """The names of the sweeps that were planned, latest first."""
    return [manifest.sweep for _, manifest in store.sweeps.manifests()]
