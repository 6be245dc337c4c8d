"""What accuracy matching did."""

from __future__ import annotations

from midef.dashboards.matching_data import matching_data
from midef.dashboards.views.base import Pieces, Shown, View


def pieces(shown: Shown) -> Pieces:
    """One piece, if anything was matched."""
    chances = {row.setup: row.chance for row in shown.summaries if row.chance is not None}
    if shown.matching is not None:
        yield "matching", matching_data(shown.matching, shown.store_name, chances)


VIEW = View(
    name="matching", title="Accuracy matching", pieces=pieces, is_shown=lambda shown: shown.matching is not None
)
