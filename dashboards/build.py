"""Builds the static dashboard: a folder that opens from disk, with no server and no network."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import midef
from midef.core import ResultRow
from midef.dashboards.figures.trade_off import assign_colours
from midef.dashboards.figures.utility import utility_of, with_front
from midef.dashboards.files import clear, copy_plotly, html, ours, piece, script, write
from midef.dashboards.frame_data import Header, Page, Tab, head, measures, named
from midef.dashboards.page_data import Setup
from midef.dashboards.pictures import remove_unused
from midef.dashboards.reconstructions import Extent, Fetch, write_grid
from midef.dashboards.reference import Reference
from midef.dashboards.setup_data import setup_data
from midef.dashboards.sources import read_sources
from midef.dashboards.views.base import Matched, Plan, Shown
from midef.dashboards.views.order import VIEWS
from midef.results.compare import NATURAL
from midef.results.summary import SetupKey, SummaryRow, by_setup, summarise

if TYPE_CHECKING:
    from midef.storage import Store


@dataclass(frozen=True)
class BuildReport:
    """Result of a build.

    Args:
        index: the page to open.
        files: number of files.
        bytes: of all files.
        seconds: that it took.
        rows: result rows shown.
        warnings: what the page lacks, and why.
    """

    index: Path
    files: int
    bytes: int
    seconds: float
    rows: int
    warnings: tuple[str, ...]


def build(
    store_uri: str | Sequence[str],
    out: Path,
    sweep: str | Sequence[str] | None = None,
    with_private_exemplars: bool = False,
    *,
    utility: str = NATURAL,
    reference: Reference | None = None,
) -> BuildReport:
    """Build the dashboard of sweeps of stores.

    Published numbers that the stores keep are shown beside ours, and so is what accuracy matching found for the sweep.

    Args:
        store_uri: of the store, or of several.
        out: folder of the page.
        sweep: its name, `name@digest` or digest, or several; the latest of each store unless one is given.
        with_private_exemplars: also show pictures from the private training data. Off unless asked for; data that shows
            nobody (`synthetic_faces`) is always shown.
        utility: metric that attack accuracy is plotted against.
        reference: what components say of themselves; the page defines its metrics and data sets by it.

    Raises:
        StoreError: if there is no store, or it cannot be read.
        SpecError: if the stores know no such sweep, neither planned nor matched, or several where one is meant.
    """
    uris = [store_uri] if isinstance(store_uri, str) else store_uri
    sources = read_sources(uris, [sweep] if isinstance(sweep, str) else sweep or ())
    return build_page(
        sources.rows,
        sources.fetch,
        out,
        stores=sources.stores,
        store_name=sources.name,
        unfinished=sources.unfinished,
        warnings=sources.warnings,
        matchings=sources.matchings,
        published=sources.published,
        plans=sources.plans,
        reference=reference,
        with_private_exemplars=with_private_exemplars,
        utility=utility,
    )


def build_page(
    rows: Sequence[ResultRow],
    fetch: Fetch,
    out: Path,
    *,
    store_name: str,
    stores: Sequence[Store] = (),
    unfinished: int | None = None,
    warnings: Sequence[str] = (),
    published: Sequence[ResultRow] = (),
    matchings: Sequence[Matched] = (),
    plans: Sequence[Plan] = (),
    reference: Reference | None = None,
    with_private_exemplars: bool = False,
    utility: str = NATURAL,
) -> BuildReport:
    """Build the dashboard of result rows.

    Args:
        rows: measured rows.
        fetch: gives the folder of a stored artifact.
        out: folder of the page.
        store_name: as the page calls the store.
        stores: where the rows come from; without, the page has no logs and no analyses.
        unfinished: planned cells without a result; None counts the seeds that some defenses have and others lack.
        warnings: to show above the page.
        published: published numbers of any setups; those of a setup and a defense in `rows` are shown beside ours.
        matchings: what accuracy matching found; the page says nothing of it without.
        plans: of the sweeps; without, cells that were never run are not listed.
        reference: see `build`.
        with_private_exemplars: see `build`.
        utility: see `build`.
    """
    start = time.perf_counter()
    out = Path(out)
    clear(out)
    summaries = summarise(rows)
    setups, problems = _setups(summaries, fetch, out, published, utility, with_private_exemplars=with_private_exemplars)
    remove_unused(out, {file for setup in setups for file in setup.grid.files})
    exposes = with_private_exemplars and any(not row.shows_nobody for row in summaries)
    if exposes:
        problems.append("the page shows private training images; do not publish it without the consent of those shown")
    header = _header(summaries, store_name, unfinished, plans)
    shown = Shown(
        header=header,
        rows=rows,
        summaries=summaries,
        names=_names(by_setup(summaries)),
        setups=setups,
        published=published,
        matchings=matchings,
        store_name=store_name,
        stores=stores,
        fetch=fetch,
        out=out,
        utility=utility,
        with_private_exemplars=with_private_exemplars,
        problems=problems,
        plans=plans,
        reference=reference,
    )
    views = [view for view in VIEWS if view.is_shown(shown)]
    for view in views:
        for name, data in view.pieces(shown):
            write(out / "data" / f"{name}.js", piece(name, data))
    defenses = named(summaries)
    places = {one.label: i for i, one in enumerate(defenses)}
    page = Page(
        header=header,
        warnings=(*warnings, *problems),
        exposes_private=exposes,
        defenses=defenses,
        measures=measures(summaries),
        setups=tuple(head(*pair, places) for pair in zip(setups, shown.groups.values(), strict=True)),
        views=tuple(Tab(view.name, view.title) for view in views),
    )
    write(out / "data.js", script(page))
    copy_plotly(out)
    write(out / "index.html", html())
    written = [*(out / name for name in ("index.html", "data.js", "plotly.min.js")), *ours(out)]
    size = sum(path.stat().st_size for path in written)
    return BuildReport(out / "index.html", len(written), size, time.perf_counter() - start, len(rows), page.warnings)


def _setups(
    summaries: Sequence[SummaryRow],
    fetch: Fetch,
    out: Path,
    published: Sequence[ResultRow],
    utility: str,
    *,
    with_private_exemplars: bool,
) -> tuple[list[Setup], list[str]]:
    """Setups of the page, their pictures written, and what pictures could not be read."""
    groups = by_setup(summaries)
    fronted = [with_front(group, utility_of(group, utility)) for group in groups.values()]
    colours = assign_colours(row for group in fronted for row in group)
    names = _names(groups)
    setups, problems = [], []
    extent = Extent.of_page(sum(len(row.stored) for row in summaries))
    for number, (key, group) in enumerate(groups.items()):
        prefix = f"{number:02d}"
        grid, unread = write_grid(group, fetch, out, with_private_exemplars=with_private_exemplars, extent=extent)
        problems += unread
        setups.append(setup_data(names[key], group, grid, colours, published, utility, piece=f"setup-{prefix}"))
    return setups, problems


def _names(groups: Mapping[SetupKey, Sequence[SummaryRow]]) -> dict[SetupKey, str]:
    """The short name of each setup for the address bar: its id where that is enough."""
    ids = [key[2] for key in groups]
    return {key: key[2] if ids.count(key[2]) == 1 else "/".join(key) for key in groups}


def _header(summaries: Sequence[SummaryRow], store_name: str, unfinished: int | None, plans: Sequence[Plan]) -> Header:
    """Origin of the numbers; before there are any, the plans say which sweep it will be."""

    def joined(values: Iterable[str]) -> str:
        return ", ".join(sorted(set(values))) or "none"

    codes = {code for row in summaries for code in row.code_versions} or {midef.__version__}
    return Header(
        sweep=joined([row.sweep for row in summaries] or [plan.sweep for plan in plans]),
        profile=joined(
            [row.profile for row in summaries] or [str(json.loads(plan.spec_json)["profile"]) for plan in plans]
        ),
        built=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        store=store_name,
        code=joined(codes),
        ok=sum(row.ok for row in summaries),
        failed=sum(row.failed for row in summaries),
        refused=sum(row.refused for row in summaries),
        missing=sum(row.missing for row in summaries) if unfinished is None else unfinished,
    )
