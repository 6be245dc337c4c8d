"""The utility that attacks are plotted against: test accuracy, or another metric that a defense costs something of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from midef.core.statistics import pareto_front
from midef.results.compare import NATURAL
from midef.results.estimates import Estimate
from midef.results.summary import SummaryRow

WORSE = ("less useful", "more costly")
"""Directions of metrics of which a larger value is worse: their axis is reversed, so that right is better."""


@dataclass(frozen=True)
class Utility:
    """The x axis of a trade-off.

    Args:
        metric: its name.
        title: of the axis.
        is_reversed: whether larger values are on the left.
        is_percent: whether it is in percent.
    """

    metric: str = NATURAL
    title: str = "test accuracy (%)  → better"
    is_reversed: bool = False
    is_percent: bool = True

    @property
    def is_accuracy(self) -> bool:
        """True of test accuracy, for which targets, published points and fronts are known."""
        return self.metric == NATURAL

    def of(self, row: SummaryRow) -> Estimate:
        """The utility of a defense."""
        return row.estimate(self.metric)


def utility_of(group: Sequence[SummaryRow], metric: str = NATURAL) -> Utility:
    """The axis of a metric, as the rows of a setup describe it."""
    if metric == NATURAL:
        return Utility()
    column = next((column for row in group for column in row.columns if column.metric == metric), None)
    if column is None:
        return Utility(metric, metric, is_percent=False)
    is_reversed = column.larger_is in WORSE
    unit = "%" if column.is_percent else column.unit
    title = f"{column.name} ({unit}){', reversed' if is_reversed else ''}  → better"
    return Utility(metric, title, is_reversed, column.is_percent)


def with_front(group: Sequence[SummaryRow], utility: Utility) -> list[SummaryRow]:
    """Rows of a setup, those on the front that no other beats in this utility and under attack."""
    if utility.is_accuracy:
        return list(group)
    sign = -1.0 if utility.is_reversed else 1.0
    nowhere = float("nan"), float("nan")
    points = []
    for row in group:
        useful, attack = utility.of(row).mean, row.attack_accuracy_at_1.mean
        is_apart = row.is_excluded or row.has_own_seeds or useful is None or attack is None
        points.append(nowhere if is_apart else (sign * (useful or 0.0), attack or 0.0))
    front = pareto_front(points)
    return [replace(row, is_on_front=i in front) for i, row in enumerate(group)]
