"""What a summary says and compares in a setup whose defenses were brought to one accuracy.

At equal accuracy the defense with the lower attack accuracy is the better one, so only rows within the tolerance are
compared. The others are shown, with how far they are off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from midef.core.rows import ResultRow
from midef.core.statistics import pareto_front

MATCHED_COLUMN = ("matched", "matched")
DROP_COLUMN = ("attack_drop", "att drop")
NOT_MATCHED = "not matched"
MATCH_NUMBERS = ("match_target", "match_tolerance", "match_accuracy", "match_seeds")


class MatchedRow(Protocol):
    """What of a `SummaryRow` is about matching."""

    @property
    def defense(self) -> str: ...
    @property
    def is_undefended(self) -> bool: ...
    @property
    def is_matched(self) -> bool: ...
    @property
    def match_target(self) -> float | None: ...
    @property
    def match_tolerance(self) -> float | None: ...
    @property
    def match_accuracy(self) -> float | None: ...
    @property
    def match_seeds(self) -> int | None: ...


def is_matched_setup(group: Sequence[MatchedRow]) -> bool:
    """Whether anything in the setup was asked to match an accuracy."""
    return any(row.match_target is not None for row in group)


def matching_of(rows: Sequence[ResultRow]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of a `SummaryRow` about matching, and what has to be noted about them.

    Rows of two matchings are no mean over seeds of one thing: such a defense counts as not matched.
    """
    found = list(dict.fromkeys((row.matched, *(getattr(row, name) for name in MATCH_NUMBERS)) for row in rows))
    is_one = len(found) == 1
    values = {"is_matched": is_one and found[0][0], **dict(zip(MATCH_NUMBERS, found[0][1:], strict=True))}
    return values, () if is_one else ("its seeds were matched apart from each other and count as not matched",)


def matched_front(group: Sequence[MatchedRow], points: Sequence[tuple[float, float]]) -> set[int]:
    """Indices on the front among the matched rows, for each target apart; see `pareto_front`."""
    front: set[int] = set()
    for target in {row.match_target for row in group if row.is_matched}:
        those = [i for i, row in enumerate(group) if row.is_matched and row.match_target == target]
        front |= {those[i] for i in pareto_front([points[i] for i in those])}
    return front


def accuracy_and_gap(row: MatchedRow) -> tuple[str, str]:
    """`88.4`, `(+0.2)`: the accuracy on the select split and the points above the target; `no: 84.1` outside of the
    tolerance, and two empty texts for a row that was not asked to match."""
    if row.match_target is None or row.match_accuracy is None:
        return "", ""
    gap = round(row.match_accuracy - row.match_target, 1) + 0.0  # no "-0.0"
    return f"{'' if row.is_matched else 'no: '}{row.match_accuracy:.1f}", f"({gap:+.1f})"


def matched_to(group: Sequence[MatchedRow]) -> str:
    """`matched to 88.2 ± 0.5 (tolerance) on the select split, mean over 3 seeds`; "" where nothing was."""
    asked = sorted({(r.match_target, r.match_tolerance or 0.0) for r in group if r.match_target is not None})
    if not asked:
        return ""
    targets = " or ".join(f"{target:.1f} ± {tolerance:g}" for target, tolerance in asked)
    seeds = sorted({row.match_seeds for row in group if row.match_seeds})
    count = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}" if seeds else ""
    over = f", mean over {count} seed{'' if seeds[-1] == 1 else 's'}" if seeds else ""
    return f"matched to {targets} (tolerance) on the select split{over}"


def matched_legends(*, has_intervals: bool) -> list[str]:
    """How to read the two columns that only a matched setup has."""
    interval = " [95 % t interval of the paired differences]" if has_intervals else ""
    return [
        "matched: accuracy on the select split (points above the target); no: outside the tolerance, or not confirmed",
        "att drop: points of attack accuracy@1 below the undefended model of the setup, over the seeds that both have"
        + interval,
    ]


def matched_notes(group: Sequence[MatchedRow]) -> list[str]:
    """Which rows are not compared, and what the reference is."""
    defended = [row for row in group if not row.is_undefended]
    notes = []
    for why, one in (("not matched", True), ("without an accuracy to match", False)):
        count = sum(not row.is_matched and (row.match_target is not None) == one for row in defended)
        if count == 1:
            notes.append(f"1 of {_defenses(len(defended))} is {why}; it is shown, and not compared")
        elif count:
            notes.append(f"{count} of {_defenses(len(defended))} are {why}; they are shown, and not compared")
    if any(row.is_undefended and not row.is_matched for row in group):
        notes.append("the undefended model, the reference of att drop, is not matched: its accuracy differs by design")
    return notes


def _defenses(count: int) -> str:
    return f"{count} defense{'' if count == 1 else 's'}"
