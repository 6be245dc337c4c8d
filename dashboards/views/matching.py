"""What accuracy matching did."""

from __future__ import annotations

from dataclasses import dataclass

from midef.dashboards.matching_data import matching_data
from midef.dashboards.page_data import Matching
from midef.dashboards.views.base import Pieces, Shown, View


@dataclass(frozen=True)
class Matchings:
    """Data of the view: every sweep of the page that was matched."""

    matchings: tuple[Matching, ...]


def pieces(shown: Shown) -> Pieces:
    """One piece."""
    chances = {row.setup: row.chance for row in shown.summaries if row.chance is not None}
    found = [matching_data(one.report, one.store, chances) for one in shown.matchings]
    yield "matching", Matchings(matchings=tuple(found))


VIEW = View(name="matching", title="Accuracy matching", pieces=pieces, is_shown=lambda shown: bool(shown.matchings))
