"""Points, fronts and ranges of the trade-off plot of a setup: numbers only, nothing is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from midef.dashboards.figures.utility import Utility, with_front
from midef.results.attainment import Attainment, attainment
from midef.results.estimates import Interval
from midef.results.front_share import front_shares
from midef.results.gating import EXCLUDED_MARK
from midef.results.published import Published
from midef.results.seed_points import seed_points
from midef.results.summary import SummaryRow, interval_choice, is_matched_setup, seeds_named

LONGEST_LABEL = 28

Point = tuple[float, float]  # utility, which is natural accuracy if nothing else is chosen; attack accuracy @1


@dataclass(frozen=True)
class Place:
    """One defense in the plot.

    Args:
        index: of its row in the setup.
        row: its summary.
        point: means over seeds.
        seeds: point of each seed.
        utility: interval of the utility.
        attack: interval of the attack accuracy.
        front_share: P(on front), 0 to 1; None of fewer than three seeds and of what is compared with nothing.
    """

    index: int
    row: SummaryRow
    point: Point
    seeds: tuple[Point, ...]
    utility: Interval | None
    attack: Interval | None
    front_share: float | None = None


@dataclass(frozen=True)
class Places:
    """Everything that has a place in the plot of a setup.

    Args:
        ours: defenses with both numbers.
        published: (index of the row in the setup, published point), of defenses with both numbers.
        fronts: points of each front from left to right, one front per matched target.
        targets: (target, tolerance) of the matched defenses, each once.
        attained: fronts over seeds, in the units of the axes; none of fewer than three seeds.
        chance: attack accuracy of a blind guess, percent.
        x_range: (left, right); left > right where a larger utility is worse.
        y_range: (bottom, top); bottom > top, because less attack accuracy is better and better is up.
    """

    ours: tuple[Place, ...]
    published: tuple[tuple[int, Point], ...]
    fronts: tuple[tuple[Point, ...], ...]
    targets: tuple[tuple[float, float], ...]
    attained: tuple[Attainment, ...]
    chance: float | None
    x_range: tuple[float, float]
    y_range: tuple[float, float]


def places_of(
    group: Sequence[SummaryRow], published: Mapping[str, Published], utility: Utility | None = None
) -> Places | None:
    """Places of the rows of one setup; None if no row has both numbers.

    Args:
        group: rows of the setup.
        published: by defense label; what is published and matched is about test accuracy, and left out of others.
        utility: what attack accuracy is plotted against; None for test accuracy.
    """
    choice, useful = interval_choice(group), utility or Utility()
    group = with_front(group, useful)
    shares = front_shares(group, useful.metric, larger_is_better=not useful.is_reversed)
    ours = tuple(
        Place(
            i,
            row,
            (mean, row.attack_accuracy_at_1.mean),
            tuple(_per_seed(row, useful)),
            _wide(useful.of(row).interval(choice)),
            _wide(row.attack_accuracy_at_1.interval(choice)),
            shares.get(i),
        )
        for i, row in enumerate(group)
        if (mean := useful.of(row).mean) is not None and row.attack_accuracy_at_1.mean is not None
    )
    if not ours:
        return None
    theirs = tuple(
        (i, (one.natural_accuracy, one.attack_accuracy_at_1))
        for i, row in enumerate(group)
        if useful.is_accuracy
        and (one := published.get(row.defense)) is not None
        and one.natural_accuracy is not None
        and one.attack_accuracy_at_1 is not None
    )
    chance = next((row.chance for row in group if row.chance is not None), None)
    matched = [row for row in group if useful.is_accuracy]
    targets = sorted({(r.match_target, r.match_tolerance or 0.0) for r in matched if r.match_target is not None})
    xs = [x for _, (x, _) in theirs] + [target + side for target, width in targets for side in (-width, width)]
    ys = [y for _, (_, y) in theirs] + ([chance] if chance is not None else [])
    x_range, y_range = _ranges(ours, xs, ys, useful)
    attained = _attained(group, useful)
    return Places(ours, theirs, _fronts(ours, useful), tuple(targets), attained, chance, x_range, y_range)


def _wide(span: Interval | None) -> Interval | None:
    """The interval, none without a width: a bar that cannot be seen would say that nothing is uncertain."""
    return span if span is not None and span.high > span.low else None


def _attained(group: Sequence[SummaryRow], utility: Utility) -> tuple[Attainment, ...]:
    """Attainment of each front over seeds, utilities as the axis has them."""
    sign = -1.0 if utility.is_reversed else 1.0

    def turned(corners: Sequence[Point]) -> tuple[Point, ...]:
        return tuple((sign * x, y) for x, y in corners)

    found = map(attainment, seed_points(group, utility.metric, larger_is_better=not utility.is_reversed))
    return tuple(
        replace(one, best=turned(one.best), median=turned(one.median), worst=turned(one.worst))
        for one in found
        if one is not None
    )


def label(row: SummaryRow) -> str:
    """Name of a row beside its point, marked where it is no result, with the seeds of one that is over other seeds than
    the rest of its setup; markup in it is text."""
    text = "undefended" if row.is_undefended else row.defense
    seeds = f" ({seeds_named(row.shown_seeds)})" if row.has_own_seeds else ""
    mark = f" {EXCLUDED_MARK}" if row.is_excluded else ""
    return escape(text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…", quote=False) + seeds + mark


def is_unmatched(row: SummaryRow, group: Iterable[SummaryRow]) -> bool:
    """True if a defense is not at the accuracy that those of its setup were matched to."""
    return not row.is_undefended and not row.is_matched and is_matched_setup(group)


def _per_seed(row: SummaryRow, utility: Utility) -> list[Point]:
    attack = dict(row.attack_accuracy_at_1.by_seed)
    return [(x, attack[seed]) for seed, x in utility.of(row).by_seed if seed in attack]


def _fronts(ours: Iterable[Place], utility: Utility) -> tuple[tuple[Point, ...], ...]:
    by_target: dict[float | None, list[Point]] = {}
    for place in ours:
        if place.row.is_on_front:
            target = place.row.match_target if utility.is_accuracy else None
            by_target.setdefault(target, []).append(place.point)
    return tuple(tuple(_left_to_right(front, utility)) for front in by_target.values())


def _left_to_right(front: Sequence[Point], utility: Utility) -> list[Point]:
    """From the least useful on; of equally useful points as attack accuracy rises."""
    sign = -1 if utility.is_reversed else 1
    return sorted(front, key=lambda point: (sign * point[0], point[1]))


def _ranges(
    ours: Iterable[Place], more_x: Sequence[float], more_y: Sequence[float], utility: Utility
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Both axes, wide enough for points, seeds, intervals and `more_x`, `more_y`, with some air around."""
    xs, ys = list(more_x), list(more_y)
    for place in ours:
        for values, at, span in ((xs, 0, place.utility), (ys, 1, place.attack)):
            values += [place.point[at], *(seed[at] for seed in place.seeds), *([span.low, span.high] if span else [])]
    least = 2.0 if utility.is_percent else 0.02 * (max(map(abs, xs)) or 1.0)
    wide, high = max(max(xs) - min(xs), least), max(max(ys) - min(ys), 4.0)
    left, right = min(xs) - 0.09 * wide, max(xs) + 0.06 * wide
    if utility.is_reversed:
        left, right = max(xs) + 0.09 * wide, min(xs) - 0.06 * wide
    return (left, right), (max(ys) + 0.07 * high, min(ys) - 0.05 * high)
