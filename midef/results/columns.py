"""Columns of metrics: their titles, their order, and how a number of theirs is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from midef.core.rows import ResultRow
from midef.results.compare import COMPARED

_DIRECTIONS = {"more useful": 0, "less useful": 1, "less private": 2, "more private": 3, "more costly": 4}


@dataclass(frozen=True)
class MetricColumn:
    """Table column of a metric, as its result rows describe it.

    Args:
        metric: registered name.
        title: heading of the column.
        unit: unit of the numbers; decides how they are written.
        larger_is: what a larger value means; decides where the column stands.
    """

    metric: str
    title: str
    unit: str
    larger_is: str

    @property
    def name(self) -> str:
        """Name of the metric in a sentence: the title without its unit."""
        return COMPARED.get(self.metric, self.title.removesuffix(" %").removesuffix(" s"))

    @property
    def is_percent(self) -> bool:
        return self.unit == "percent"

    @property
    def is_cost(self) -> bool:
        return self.larger_is == "more costly"

    @property
    def rank(self) -> tuple[int, bool, str]:
        """Order in a table: utility, privacy, costs; the compared metrics first among theirs, others by name."""
        return _DIRECTIONS.get(self.larger_is, 3), self.metric not in COMPARED, self.metric

    def write(self, value: float, largest: float) -> str:
        """Number as text.

        Args:
            value: the number.
            largest: largest number of the column; where the unit does not fix the digits, all get as many as it needs.
        """
        if self.is_percent:
            return f"{value:.1f}"
        if self.unit == "images":
            return f"{value:,.0f}"
        if self.unit == "seconds":
            return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
        if self.unit == "distance of scores":  # published ones span 0.00014 to 0.99 in one table
            return f"{value:.5f}"
        return f"{value:.{1 if largest >= 100 else 2 if largest >= 1 else 3}f}"


STANDING = (
    MetricColumn("natural_accuracy", "test acc %", "percent", "more useful"),
    MetricColumn("attack_accuracy_at_1", "att@1 %", "percent", "less private"),
    MetricColumn("attack_accuracy_at_5", "att@5 %", "percent", "less private"),
    MetricColumn("knn_distance", "KNN dist", "squared feature distance", "more private"),
    MetricColumn("queries", "queries", "images", "more costly"),
    MetricColumn("wall_s", "attack s", "seconds", "more costly"),
)
"""Columns of every table until row schema 4. Rows of that age name no column: these are their titles, and other metrics
of theirs are not shown. The columns stand in every table, so that tables of different ages read alike."""


def columns_of(rows: Iterable[ResultRow]) -> tuple[MetricColumn, ...]:
    """Columns of the metrics in `rows`, in the order of a table."""
    latest = {row.metric: row for row in rows if row.column}  # also where every value of it failed
    return merged(
        [STANDING, [MetricColumn(row.metric, row.column, row.unit, row.larger_is) for row in latest.values()]]
    )


def not_applicable(rows: Iterable[ResultRow]) -> frozenset[str]:
    """Metrics that have no meaning in a setup: refused in every cell of `rows` of which any other was measured.

    They get no column, and no line unless it was for want of a file (`lacking_a_file`). What stands in every table
    keeps both. Cells that were lost as a whole say nothing about a metric.
    """
    every = list(rows)
    refused = {row.metric for row in every if row.status == "refused"}
    if not refused:
        return frozenset()
    measured = {_cell(row) for row in every if row.status == "ok"}
    states: dict[str, set[str]] = {}
    for row in every:
        if row.metric in refused and _cell(row) in measured:
            states.setdefault(row.metric, set()).add(row.status)
    standing = {column.metric for column in STANDING}
    return frozenset(metric for metric, seen in states.items() if seen == {"refused"}) - standing


_cell = attrgetter("defense_name", "defense_params", "seed")


def lacking_a_file(rows: Iterable[ResultRow]) -> frozenset[str]:
    """Metrics that were refused because a file is missing, or images, which a line says: somebody may bring them."""
    return frozenset(row.metric for row in rows if row.status == "refused" and row.failure == "data")


def merged(parts: Iterable[Sequence[MetricColumn]]) -> tuple[MetricColumn, ...]:
    """Columns of several defenses as those of one table; of two titles of a metric the later one counts."""
    by_metric = {column.metric: column for columns in parts for column in columns}
    return tuple(sorted(by_metric.values(), key=lambda column: column.rank))
