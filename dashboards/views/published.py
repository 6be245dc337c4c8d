"""Published numbers beside ours, with a verdict on each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from midef.dashboards.views.base import Pieces, Shown, View
from midef.dashboards.views.sheet import Sheet, numbers, words
from midef.results.against_published import DERIVED, VERDICTS, Reproduction, reproductions
from midef.results.compare import COMPARED


@dataclass(frozen=True, kw_only=True)
class PublishedData:
    """Data of the view.

    Args:
        verdicts: name, meaning and count of each.
        notes: what is left out, and why.
        metrics: of each row of the sheet, as registered.
        sheet: one row per published number.
    """

    verdicts: tuple[tuple[str, str, int], ...]
    notes: tuple[str, ...]
    metrics: tuple[str, ...]
    sheet: Sheet


def published_data(shown: Shown) -> PublishedData:
    """Every published number of the page's setups beside ours, those without one of ours last."""
    planned = {str(cell["setup"]) for cell in shown.planned if cell.get("setup")}
    found = reproductions(shown.summaries, shown.rows, shown.published, planned)
    found = sorted(found, key=lambda one: one.measured is None)
    counts = Counter(one.verdict for one in found)
    return PublishedData(
        verdicts=tuple((name, meaning, counts[name]) for name, meaning in VERDICTS.items()),
        notes=tuple(_notes(shown, planned)),
        metrics=tuple(one.metric for one in found),
        sheet=_sheet(found, {**{row.metric: row.column for row in shown.rows if row.column}, **COMPARED}),
    )


def _notes(shown: Shown, planned: set[str]) -> list[str]:
    setups = planned | {row.setup for row in shown.summaries}
    other = [row for row in shown.published if row.setup not in setups]
    inside = [row for row in shown.published if row.setup in setups]
    derived = sum(row.metric in DERIVED for row in inside)
    marks = sum(row.value is None and row.metric not in DERIVED for row in inside)
    notes = []
    if derived:
        notes.append(f"{derived} published values that follow from others of their table, such as Delta, are left out.")
    if marks:
        notes.append(f"{marks} printed marks without a number are left out.")
    if other:
        notes.append(
            f"{len(other)} published numbers are of setups that are not on this page; `midef list published` has all."
        )
    return notes


def _sheet(found: Sequence[Reproduction], names: Mapping[str, str]) -> Sheet:
    return Sheet(
        name="published",
        caption="Published numbers against ours",
        columns=(
            words("setup", "setup", (one.setup for one in found)),
            words("defense", "defense", (one.defense for one in found)),
            words("metric", "metric", (names.get(one.metric, one.metric.replace("_", " ")) for one in found)),
            numbers("published", "published", (one.published for one in found), 2),
            numbers("spread", "± printed", (one.spread for one in found), 2),
            numbers("measured", "ours", (one.measured for one in found), 2),
            numbers("low", "low", (None if one.interval is None else one.interval.low for one in found), 2),
            numbers("high", "high", (None if one.interval is None else one.interval.high for one in found), 2),
            numbers("seeds", "seeds", (one.seeds or None for one in found), 0),
            numbers("difference", "difference", (one.difference for one in found), 2),
            words("verdict", "verdict", (one.verdict for one in found)),
            words("unit", "unit", (one.unit for one in found)),
            words("reason", "why", (one.reason for one in found), long=True),
            words("differences", "protocol differences", ("; ".join(one.differences) for one in found), long=True),
            words("source", "source", (", ".join(filter(None, (one.paper, one.table))) for one in found)),
            words("published_as", "printed for", (one.published_as for one in found)),
            words(
                "interval", "interval", ("" if one.interval is None else one.interval.kind for one in found), long=True
            ),
            words("remark", "remark", (one.remark for one in found), long=True),
        ),
    )


def pieces(shown: Shown) -> Pieces:
    """One piece."""
    yield "published", published_data(shown)


VIEW = View(name="published", title="Published", pieces=pieces, is_shown=lambda shown: bool(shown.published))
