"""What a view is, and what it is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core.match import MatchReport
from midef.core.rows import ResultRow
from midef.dashboards.frame_data import Header
from midef.dashboards.page_data import Setup
from midef.dashboards.reconstructions import Fetch
from midef.dashboards.reference import Reference
from midef.results.summary import SetupKey, SummaryRow, by_setup

if TYPE_CHECKING:
    from midef.storage import Store


@dataclass(frozen=True)
class Plan:
    """Plan of a sweep on the page.

    Args:
        sweep: name, as the page shows it.
        spec_json: the specification as it was given.
        cells: rows of its manifest.
        store: name of the store that holds it.
    """

    sweep: str
    spec_json: str
    cells: Sequence[Mapping[str, str | int | float | None]]
    store: str


@dataclass(frozen=True)
class Matched:
    """What the accuracy matching of one sweep found, and the name of the store that holds it."""

    report: MatchReport
    store: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Everything that the views of a page may show.

    Args:
        header: where the numbers come from.
        rows: measured rows.
        summaries: of them, over seeds.
        names: of the setups, as links name them.
        setups: the data of each setup, in the order of the page.
        published: published numbers of any setups.
        matchings: what accuracy matching found, one for each sweep that was matched.
        store_name: as the page calls the store.
        stores: where the rows come from; none for rows that no store holds.
        fetch: gives the folder of a stored artifact.
        out: folder of the page.
        utility: metric that attack accuracy is plotted against.
        with_private_exemplars: private training images of people may be shown.
        problems: what the page lacks, and why; a view adds its own.
        plans: of the sweeps on the page.
        reference: what components say of themselves.
    """

    header: Header
    rows: Sequence[ResultRow]
    summaries: Sequence[SummaryRow]
    names: Mapping[SetupKey, str]
    setups: Sequence[Setup]
    published: Sequence[ResultRow]
    matchings: Sequence[Matched]
    store_name: str
    stores: Sequence[Store]
    fetch: Fetch
    out: Path
    utility: str
    with_private_exemplars: bool
    problems: list[str] = field(default_factory=list)
    plans: Sequence[Plan] = ()
    reference: Reference | None = None

    @cached_property
    def planned(self) -> list[dict[str, str | int | float | None]]:
        """Every planned cell, with the name of its sweep."""
        return [{**cell, "sweep": plan.sweep} for plan in self.plans for cell in plan.cells]

    @cached_property
    def groups(self) -> dict[SetupKey, list[SummaryRow]]:
        """Summary rows by setup, in the order of `setups`."""
        return by_setup(self.summaries)


Pieces = Iterable[tuple[str, object]]
"""(name, data) of each file of a view; the data is a dataclass of plain values."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One view of the page, drawn by `page/views/NAME.js` into what `page/views/NAME.html` holds, if there is one.

    Args:
        name: as links and files call it.
        title: of its tab.
        pieces: its data; the page loads `data/PIECE.js` when the view is first shown. Views that show what is there
            anyway have none.
        is_shown: whether the page has this view at all.
    """

    name: str
    title: str
    pieces: Callable[[Shown], Pieces] = lambda shown: ()
    is_shown: Callable[[Shown], bool] = lambda shown: True
