"""Published numbers against ours: what agrees, what differs, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from midef.core.gates import excluded_because
from midef.core.rows import ResultRow
from midef.results.compare import MARGIN_POINTS
from midef.results.estimates import Interval
from midef.results.published import name_of, our_label
from midef.results.summary import SummaryRow, interval_choice

Verdict = Literal["agrees", "differs", "not comparable", "not run"]
VERDICTS: Mapping[Verdict, str] = {
    "agrees": f"the published value lies in our interval, or a percentage is within {MARGIN_POINTS:g} point of ours",
    "differs": "it does neither, and both are of the same protocol",
    "not comparable": "something else was measured here; the reason says what",
    "not run": "there is no number of ours; the reason says why",
}
FINAL_PROFILE = "paper"
DERIVED = frozenset({"trade_off_delta", "natural_accuracy_change", "attack_accuracy_change"})
"""Published metrics that follow from others of the same table, which are compared themselves."""
_NAMES = ("attack", "architecture", "private", "public", "evaluator")
"""Components that decide what is measured; compared by name, without parameters."""
_SIZES = {"resolution_px": "resolution", "identities": "identities"}


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """One published number and ours.

    Args:
        paper: short name.
        table: of the paper, as it calls it.
        setup: id.
        defense: label of our defense, else of the published one.
        published_as: label of the published defense.
        metric: registered name.
        unit: of both numbers.
        published: value.
        spread: as printed.
        measured: mean over seeds; None where nothing was measured.
        interval: of `measured`.
        seeds: that it is over.
        verdict: one of `VERDICTS`.
        reason: of a verdict other than `agrees` and `differs`; what decided it for those.
        differences: how the protocols differ, or what a paper leaves open.
        remark: on the published number.
    """

    paper: str
    table: str
    setup: str
    defense: str
    published_as: str
    metric: str
    unit: str
    published: float
    spread: float | None
    measured: float | None
    interval: Interval | None
    seeds: int
    verdict: Verdict
    reason: str
    differences: tuple[str, ...]
    remark: str

    @property
    def difference(self) -> float | None:
        """Ours minus the published value."""
        return None if self.measured is None else self.measured - self.published


def reproductions(
    summaries: Sequence[SummaryRow], rows: Iterable[ResultRow], published: Iterable[ResultRow], setups: Iterable[str]
) -> list[Reproduction]:
    """Every published number of the given setups beside ours, by paper, in the order of `published`.

    Numbers of other setups, marks without a value, and what follows from other numbers (`DERIVED`) are left out.

    Args:
        summaries: of the measured rows.
        rows: the measured rows.
        published: rows of any setups.
        setups: ids of the setups that were planned.
    """
    measured = {(row.setup, row.defense): row for row in reversed(list(rows)) if row.origin == "measured"}
    groups: dict[str, list[SummaryRow]] = {}
    for summary in summaries:
        groups.setdefault(summary.setup, []).append(summary)
    known = {*setups, *groups}
    theirs = [r for r in published if r.setup in known and r.value is not None and r.metric not in DERIVED]
    labels: dict[str, list[str]] = {}
    for row in theirs:
        labels.setdefault(row.setup, []).append(row.defense)
    found = []
    for row in theirs:
        group = groups.get(row.setup, [])
        label = our_label(row.defense, labels[row.setup], [one.defense for one in group])
        ours = next((one for one in group if one.defense == label), None)
        found.append(_reproduction(row, label, ours, group, measured.get((row.setup, label))))
    return sorted(found, key=lambda one: one.paper)


def _reproduction(
    row: ResultRow, label: str, ours: SummaryRow | None, group: Sequence[SummaryRow], first: ResultRow | None
) -> Reproduction:
    paper, _, table = row.source.partition(", ")
    estimate = None if ours is None else ours.estimate(row.metric)
    mean = None if estimate is None else estimate.mean
    span = None
    if estimate is not None and mean is not None:
        span = estimate.interval(interval_choice(group)) or estimate.within_run
    value = row.value or 0.0  # those without were left out
    verdict, reason, differences = _judged(row, value, label, ours, mean, span, first)
    return Reproduction(
        paper=paper,
        table=table,
        setup=row.setup,
        defense=label,
        published_as=row.defense,
        metric=row.metric,
        unit=row.unit,
        published=value,
        spread=row.spread,
        measured=mean,
        interval=span,
        seeds=0 if estimate is None else estimate.seeds,
        verdict=verdict,
        reason=reason,
        differences=differences,
        remark=row.remark,
    )


def _judged(
    row: ResultRow,
    value: float,
    label: str,
    ours: SummaryRow | None,
    mean: float | None,
    span: Interval | None,
    first: ResultRow | None,
) -> tuple[Verdict, str, tuple[str, ...]]:
    """Verdict, its reason, and how the protocols differ."""
    if ours is None or first is None:
        return "not run", "this defense is not among the results of the setup", ()
    if mean is None:
        problem = next((p for p in ours.problems if p.metric == row.metric), next(iter(ours.problems), None))
        return "not run", f"{problem.status}: {problem.reason}" if problem else "this metric was not measured", ()
    decisive = _decisive(row, label, ours, first)
    noted = (*decisive, *_counts(row, ours, first))
    if decisive:
        return "not comparable", decisive[0], noted
    if span is not None and span.low <= value <= span.high:
        return "agrees", f"inside {_ends(span)}", noted
    gap = abs(mean - value)
    if row.unit == "percent" and gap <= MARGIN_POINTS:
        return "agrees", f"{gap:.1f} points apart", noted
    if row.unit != "percent" and span is None:
        return "not comparable", "our number has no interval", noted
    return "differs", f"{gap:.1f} points apart" if row.unit == "percent" else f"outside {_ends(span)}", noted


def _ends(span: Interval | None) -> str:
    return "" if span is None else f"[{span.low:.4g}, {span.high:.4g}]"


def _decisive(row: ResultRow, label: str, ours: SummaryRow, first: ResultRow) -> tuple[str, ...]:
    """Differences that make two numbers incomparable, the most telling first."""
    said = []
    if ours.stand_ins:
        said.append(f"stand-ins: {ours.stand_ins}")
    if ours.profile != FINAL_PROFILE:
        said.append(f"profile {ours.profile}: reduced budget")
    if ours.is_excluded:
        said.append(f"excluded: {excluded_because(ours.gates)}")
    if label != row.defense:
        said.append(f"other parameters: published as {row.defense}")
    if ours.match_target is not None and not ours.is_undefended:
        said.append(f"the strength was chosen for {ours.match_target:g} % test accuracy")
    if ours.stand_ins:
        return tuple(said)  # they name each component and size that was replaced
    for field in _NAMES:
        theirs, mine = (_name(getattr(one, field)) for one in (row, first))
        if theirs and mine and theirs != mine:
            said.append(f"{field}: published {theirs}, here {mine}")
    for field, word in _SIZES.items():
        theirs, mine = getattr(row, field), getattr(first, field)
        if theirs is not None and mine is not None and theirs != mine:
            said.append(f"{word}: published {theirs}, here {mine}")
    return tuple(said)


def _counts(row: ResultRow, ours: SummaryRow, first: ResultRow) -> tuple[str, ...]:
    """Differences that change how sure a number is, not what it is of, and what the paper leaves open."""
    said = []
    theirs, mine = row.images_per_identity, first.images_per_identity
    if theirs != mine and not ours.stand_ins:
        said.append(f"images of each identity: published {_or_open(theirs)}, here {mine}")
    seeds = len(ours.shown_seeds)
    said.append(f"seeds: published {_or_open(row.seed)}, here {seeds}")
    return tuple(said)


def _or_open(value: int | None) -> str:
    return "not stated" if value is None else str(value)


def _name(text: str) -> str:
    """`ir152` of `ir152, pre-trained on ms1m`; `midre` of `midre(area_high=0.8)`."""
    return name_of(text.partition(",")[0])
