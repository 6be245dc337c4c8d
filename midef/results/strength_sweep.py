"""Defenses at several strengths: the attack accuracy that a family has at a given test accuracy, never extrapolated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from midef.core.statistics import two_level_interval
from midef.results.estimates import SEEDS_FOR_T, Interval
from midef.results.summary import SummaryRow

NOT_REACHED = "not reached"


@dataclass(frozen=True, kw_only=True)
class Family:
    """One defense at two strengths or more, in one setup.

    Args:
        name: of the defense, with what its members share: `bido(measure=coco)`.
        parameters: that differ, such as `lambda_x, lambda_y`.
        members: indices of its rows in the setup, weakest first; the undefended model, strength 0, is the first.
        strengths: value of the first parameter of each member, None of the undefended model.
    """

    name: str
    parameters: tuple[str, ...]
    members: tuple[int, ...]
    strengths: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class AtAccuracy:
    """Attack accuracy of a family at a test accuracy.

    Args:
        target: test accuracy, percent.
        value: attack accuracy@1, percent, mean over the seeds; None where a seed does not reach the target.
        interval: over seeds and identities; None of fewer than three seeds without intervals of their own.
        reached: seeds whose strengths lie on both sides of the target.
        seeds: all of them.
    """

    target: float
    value: float | None
    interval: Interval | None
    reached: int
    seeds: int

    @property
    def words(self) -> str:
        """`32.1`, `not reached`, `reached in 2 of 3 seeds`."""
        if self.value is not None:
            return f"{self.value:.1f}"
        return f"reached in {self.reached} of {self.seeds} seeds" if self.reached else NOT_REACHED


def families(group: Sequence[SummaryRow]) -> list[Family]:
    """Families of one setup: rows of one defense whose numbers rise or fall together, all else being equal.

    What is excluded or over seeds of its own belongs to none.
    """
    usable = [
        (i, row, params)
        for i, row in enumerate(group)
        if not row.is_excluded
        and not row.has_own_seeds
        and row.natural_accuracy.mean is not None
        and row.attack_accuracy_at_1.mean is not None
        and (params := _params(row)) is not None
    ]
    undefended = next((i for i, row, _ in usable if row.is_undefended), None)
    alike: dict[tuple[str, str], list[tuple[int, Mapping[str, float]]]] = {}
    for i, row, params in usable:
        if not row.is_undefended:
            numbers = {name: float(value) for name, value in params.items() if _is_number(value)}
            words = {name: value for name, value in params.items() if name not in numbers}
            alike.setdefault((row.defense_name, json.dumps(words, sort_keys=True)), []).append((i, numbers))
    return [
        found
        for (name, words), members in alike.items()
        if (found := _family(name, json.loads(words), members, undefended, group)) is not None
    ]


def _params(row: SummaryRow) -> dict[str, Any] | None:
    try:
        params = json.loads(row.defense_params)
    except ValueError:
        return None
    return params if isinstance(params, dict) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _family(
    name: str,
    words: Mapping[str, Any],
    members: Sequence[tuple[int, Mapping[str, float]]],
    undefended: int | None,
    group: Sequence[SummaryRow],
) -> Family | None:
    names = sorted(set.intersection(*({*numbers} for _, numbers in members)))
    differing = [one for one in names if len({numbers[one] for _, numbers in members}) > 1]
    if not differing:
        return None
    ordered = sorted(members, key=lambda member: member[1][differing[0]])
    for one in differing:  # a ray through several parameters is a family, a grid of them is none
        steps = [later[1][one] - earlier[1][one] for earlier, later in pairwise(ordered)]
        if not (all(step > 0 for step in steps) or all(step < 0 for step in steps)):
            return None
    if undefended is not None and _distance(group, undefended, ordered[0][0]) > _distance(
        group, undefended, ordered[-1][0]
    ):
        ordered.reverse()
    start: list[tuple[int, float | None]] = [] if undefended is None else [(undefended, None)]
    every = [*start, *((i, numbers[differing[0]]) for i, numbers in ordered)]
    shared = ",".join(f"{key}={value}" for key, value in words.items() if isinstance(value, str | bool))
    return Family(
        name=f"{name}({shared})" if shared else name,
        parameters=tuple(differing),
        members=tuple(i for i, _ in every),
        strengths=tuple(strength for _, strength in every),
    )


def _distance(group: Sequence[SummaryRow], one: int, other: int) -> float:
    """Difference of two test accuracies: the weakest strength is the one nearest to the undefended model."""
    first, second = (group[i].natural_accuracy.mean or 0.0 for i in (one, other))
    return abs(first - second)


def at_accuracy(family: Family, group: Sequence[SummaryRow], target: float) -> AtAccuracy:
    """Attack accuracy of a family at a test accuracy: straight lines between neighbouring strengths, seed by seed.

    Where a curve passes the target more than once, its highest attack accuracy counts: a defender does not choose it.

    Args:
        family: of the setup.
        group: rows of the setup.
        target: test accuracy, percent.
    """
    rows = [group[i] for i in family.members]
    natural = [dict(row.natural_accuracy.by_seed) for row in rows]
    attack = [dict(row.attack_accuracy_at_1.by_seed) for row in rows]
    seeds = sorted(set.intersection(*({*one} & {*other} for one, other in zip(natural, attack, strict=True))))
    values = [
        interpolated([(a[seed], b[seed]) for a, b in zip(natural, attack, strict=True)], target) for seed in seeds
    ]
    found = [value for value in values if value is not None]
    if not found or len(found) < len(seeds):
        return AtAccuracy(target=target, value=None, interval=None, reached=len(found), seeds=len(seeds))
    value = math.fsum(found) / len(found)
    return AtAccuracy(
        target=target,
        value=value,
        interval=_interval(rows, target, found),
        reached=len(found),
        seeds=len(seeds),
    )


def interpolated(curve: Sequence[tuple[float, float]], target: float) -> float | None:
    """Highest value of a curve of straight lines at a place; None where it does not pass it.

    Args:
        curve: (place, value) of its corners in their order; a corner with a nan ends a line.
        target: place.

    >>> interpolated([(90.0, 80.0), (80.0, 40.0)], 85.0)
    60.0
    """
    found = []
    for (x0, y0), (x1, y1) in pairwise(curve):
        if not min(x0, x1) <= target <= max(x0, x1) or math.isnan(y0 + y1):
            continue
        found += [y0 + (target - x0) / (x1 - x0) * (y1 - y0)] if x0 != x1 else [y0, y1]
    return max(found, default=None)


def _interval(rows: Sequence[SummaryRow], target: float, values: Sequence[float]) -> Interval | None:
    """Interval over seeds, and over identities where every strength has one of its runs."""
    curve = [row.natural_accuracy.mean or math.nan for row in rows]
    spans = [row.attack_accuracy_at_1.within_run for row in rows]
    ends = None
    if all(span is not None for span in spans):
        lows, highs = (
            [(x, getattr(span, side)) for x, span in zip(curve, spans, strict=True)] for side in ("low", "high")
        )
        low, high = interpolated(lows, target), interpolated(highs, target)
        ends = None if low is None or high is None else (low, high)
    mean = math.fsum(values) / len(values)
    if len(values) < SEEDS_FOR_T:
        return (
            None
            if ends is None or not ends[0] <= mean <= ends[1]
            else Interval(*ends, "95 %, of the runs, interpolated")
        )
    low, high = two_level_interval(ends or (mean, mean), values)
    if high - low < 1e-9:
        return None
    return Interval(max(low, 0.0), min(high, 100.0), f"95 %, {len(values)} seeds, interpolated seed by seed")
