"""What the page loads first: the schema of `data.js`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from midef.dashboards.page_data import Setup
from midef.results.compare import ATTACK
from midef.results.summary import SummaryRow


@dataclass(frozen=True, kw_only=True)
class Header:
    """Origin of the page's numbers; ok to missing count cells."""

    sweep: str
    profile: str
    built: str
    store: str
    code: str
    ok: int
    failed: int
    refused: int
    missing: int


@dataclass(frozen=True)
class Named:
    """A defense of the page.

    Args:
        label: with its settings.
        family: its name without them; "" of the undefended model, which no filter removes.
    """

    label: str
    family: str


@dataclass(frozen=True)
class Measure:
    """A metric of privacy that views can show.

    Args:
        key: the metric.
        title: heading of its column.
        digits: after the point.
    """

    key: str
    title: str
    digits: int


@dataclass(frozen=True, kw_only=True)
class Head:
    """What the page knows of a setup before its data is loaded. Fields without a line here are as in `Setup`.

    Args:
        data: the private data set.
        architecture: of the target.
        attack: its name.
        defenses: index in `Page.defenses`, by row.
        is_matched: by row, whether it is at the accuracy it was to have.
        is_complete: by row, whether every seed was measured.
    """

    name: str
    piece: str
    label: str
    what: tuple[str, ...]
    counts: tuple[int, int, int, int]
    refused: str
    excluded: str
    stand_ins: tuple[tuple[str, str], ...]
    stamp: str
    data: str
    architecture: str
    attack: str
    defenses: tuple[int, ...]
    is_matched: tuple[bool, ...]
    is_complete: tuple[bool, ...]


@dataclass(frozen=True)
class Tab:
    """A view that the page has: its name in links, and the title of its tab."""

    name: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What is loaded first; every view loads its own data when it is shown.

    Args:
        header: where the numbers come from.
        warnings: what the page lacks, and why.
        exposes_private: private training images of people are shown.
        defenses: those of all setups.
        measures: metrics that a reader can choose, the attack accuracy first.
        setups: in the order of the list.
        views: in the order of the tabs.
    """

    header: Header
    warnings: tuple[str, ...]
    exposes_private: bool
    defenses: tuple[Named, ...]
    measures: tuple[Measure, ...]
    setups: tuple[Head, ...]
    views: tuple[Tab, ...]


def named(summaries: Sequence[SummaryRow]) -> tuple[Named, ...]:
    """The defenses of a page, in the order in which the setups have them."""
    families = {row.defense: "" if row.is_undefended else row.defense_name for row in summaries}
    return tuple(Named(label, family) for label, family in families.items())


def measures(summaries: Sequence[SummaryRow]) -> tuple[Measure, ...]:
    """Columns that say how private a defense is, the attack accuracy first."""
    found = {column.metric: column for row in summaries for column in row.columns if "private" in column.larger_is}
    kept = sorted(found.values(), key=lambda column: (column.metric != ATTACK, column.rank))
    return tuple(Measure(one.metric, one.title, 1 if one.is_percent else 3) for one in kept)


def head(setup: Setup, group: Sequence[SummaryRow], places: Mapping[str, int]) -> Head:
    """What the page knows of a setup from the start.

    Args:
        setup: its data.
        group: its summary rows.
        places: index of each defense in `Page.defenses`, by label.
    """
    same = {field.name for field in fields(Head)} & {field.name for field in fields(Setup)}
    return Head(
        **{name: getattr(setup, name) for name in same},
        data=group[0].private,
        architecture=group[0].architecture,
        attack=group[0].attack,
        defenses=tuple(places[row.defense] for row in group),
        is_matched=tuple(row.is_matched for row in group),
        is_complete=tuple(not row.missing and not row.failed and not row.refused for row in group),
    )
