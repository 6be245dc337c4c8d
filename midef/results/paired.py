"""Two defenses, or two sweeps, against each other: paired differences per setup and over setups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from midef.core.bootstrap import two_level_bootstrap
from midef.core.gates import excluded_because
from midef.core.rows import ResultRow
from midef.core.statistics import t_interval
from midef.core.text import counted
from midef.results.compare import ATTACK, NATURAL, Difference, paired_difference
from midef.results.estimates import SEEDS_FOR_T, Interval
from midef.results.summary import SummaryRow, summarise

SETUPS_FOR_T = 3
LEVEL = 0.95
Unit: TypeAlias = tuple[str, str]
"""Setup, and defense where two sweeps are compared, else ""."""
_SAME = ("attack_name", "architecture", "private", "evaluator", "counted", "victims", "resolution_px", "identities")
"""What both sides of a pair have in common; `images_per_identity` only decides how sure a number is."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One setup (and defense) on both sides, over the seeds that both have.

    Args:
        unit: what it is of.
        seeds: in common.
        first, second: attack accuracy@1 of each side, percent, means over these seeds.
        first_natural, second_natural: test accuracies likewise.
        drops: first minus second attack accuracy, by seed.
        natural_drops: of test accuracy.
        attack: difference of the attack accuracies with the interval over seeds and images.
        natural: of the test accuracies.
    """

    unit: Unit
    seeds: tuple[int, ...]
    first: float
    second: float
    first_natural: float
    second_natural: float
    drops: tuple[float, ...]
    natural_drops: tuple[float, ...]
    attack: Difference
    natural: Difference

    @property
    def over_seeds(self) -> Interval | None:
        """Student's interval of the paired differences of the seeds; None for fewer than three."""
        span = t_interval(self.drops) if len(self.drops) >= SEEDS_FOR_T else None
        return None if span is None else Interval(*span, f"95 % t interval, {len(self.drops)} paired seeds")


@dataclass(frozen=True, kw_only=True)
class Overall:
    """Differences over all setups, each counting once; first minus second, points.

    Args:
        name: the defense where two sweeps are compared, else "".
        pairs: what it is over.
        level: of its intervals; higher where several defenses are compared at once.
        drop: mean over the setups.
        over_setups: Student's interval with the setups as the observations; None for fewer than three.
        bootstrap: two-level bootstrap; None for one setup.
    """

    name: str
    pairs: tuple[Pair, ...]
    level: float
    drop: float
    over_setups: Interval | None
    bootstrap: Interval | None

    @property
    def seeds(self) -> int:
        return sum(len(pair.seeds) for pair in self.pairs)

    @property
    def intervals(self) -> list[Interval]:
        """Those that decide: of three setups and more both of them, of fewer those of each setup."""
        if len(self.pairs) >= SETUPS_FOR_T:
            return [span for span in (self.over_setups, self.bootstrap) if span is not None]
        return [pair.attack.interval for pair in self.pairs if pair.attack.interval is not None]

    @property
    def _is_decidable(self) -> bool:
        return len(self.intervals) == (2 if len(self.pairs) >= SETUPS_FOR_T else len(self.pairs))

    @property
    def second_leaks_less(self) -> bool:
        """Every deciding interval shows it."""
        return self._is_decidable and all(span.low > 0 for span in self.intervals)

    @property
    def second_leaks_more(self) -> bool:
        """Every deciding interval shows it."""
        return self._is_decidable and all(span.high < 0 for span in self.intervals)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of `compare`.

    Args:
        first, second: names of the sides.
        pairs: of every setup (and defense) that both sides have.
        overall: one, or one per defense of two sweeps.
        excluded: what could not be paired, with the reason.
        notes: what to know of the pairs.
    """

    first: str
    second: str
    pairs: tuple[Pair, ...]
    overall: tuple[Overall, ...]
    excluded: Mapping[Unit, str]
    notes: tuple[str, ...] = ()


Side: TypeAlias = Mapping[Unit, Sequence[ResultRow]]


def side_of_defense(rows: Iterable[ResultRow], defense: str) -> Side:
    """Rows of one defense by setup.

    Args:
        rows: of one sweep.
        defense: its label; in a setup without that label, its name.
    """
    every = [row for row in rows if row.origin == "measured"]
    labelled = {row.setup for row in every if row.defense == defense}
    chosen = [row for row in every if (row.defense if row.setup in labelled else row.defense_name) == defense]
    return _by_unit(chosen, with_defense=False)


def side_of_sweep(rows: Iterable[ResultRow]) -> Side:
    """Rows of one sweep by setup and defense."""
    return _by_unit((row for row in rows if row.origin == "measured"), with_defense=True)


def _by_unit(rows: Iterable[ResultRow], *, with_defense: bool) -> Side:
    found: dict[Unit, list[ResultRow]] = {}
    for row in rows:
        found.setdefault((row.setup, row.defense if with_defense else ""), []).append(row)
    return found


def compare(
    first: str,
    second: str,
    sides: tuple[Side, Side],
    whole: Iterable[SummaryRow] = (),
    *,
    matched: bool = False,
) -> Comparison:
    """Pair what both sides have, setup by setup and seed by seed.

    Args:
        first: name of the first side.
        second: of the second.
        sides: rows of both, by unit.
        whole: summary rows of all defenses of the sweeps: they say what is excluded, which a pair alone may not show.
        matched: whether only defenses within the tolerance of their target accuracy are compared; the undefended model
            is the reference and always is.
    """
    judged = {(row.sweep, row.setup, row.defense): row for row in whole}
    pairs: list[Pair] = []
    excluded: dict[Unit, str] = {}
    notes: list[str] = []
    targets: set[frozenset[str]] = set()
    for unit in sorted({*sides[0], *sides[1]}):
        missing = [name for name, side in zip((first, second), sides, strict=True) if unit not in side]
        if missing:
            excluded[unit] = f"no result of {' and '.join(missing)}"
            continue
        rows = [side[unit] for side in sides]
        summaries = [_summary(of_side, judged) for of_side in rows]
        if isinstance(problem := _problem(summaries, (first, second), matched=matched), str):
            excluded[unit] = problem
            continue
        pair, lost = _pair(unit, problem)
        pairs.append(pair)
        targets.add(frozenset(row.target_key or unit[0] for row in rows[0]))
        lost += [
            f"{row.defense} stands for {name}"
            for row, name in zip(problem, (first, second), strict=True)
            if not unit[1] and row.defense != name
        ]
        notes += [f"{_named(unit)}: {text}" for text in lost]
    setups = {pair.unit[0] for pair in pairs}
    if len(targets) < len(setups) and not any(pair.unit[1] for pair in pairs):
        notes.append(
            f"{counted(len(setups), 'setup')} attack {counted(len(targets), 'target')}: setups of one target are not "
            "independent, "
            "and the intervals over setups are narrow for that"
        )
    return Comparison(
        first=first,
        second=second,
        pairs=tuple(pairs),
        overall=tuple(_overall(pairs)),
        excluded=excluded,
        notes=tuple(notes),
    )


def _named(unit: Unit) -> str:
    return f"{unit[0]}, {unit[1]}" if unit[1] else unit[0]


_Summaries = tuple[SummaryRow, SummaryRow]


def _summary(
    rows: Sequence[ResultRow], judged: Mapping[tuple[str, str, str], SummaryRow]
) -> tuple[SummaryRow, SummaryRow] | int:
    """Summary over all seeds of this side, and the one that knows its whole setup; how many, if not one."""
    found = summarise(rows)
    if len(found) != 1:
        return len(found)
    return found[0], judged.get((found[0].sweep, found[0].setup, found[0].defense), found[0])


def _problem(
    summaries: Sequence[tuple[SummaryRow, SummaryRow] | int], names: tuple[str, str], *, matched: bool
) -> str | _Summaries:
    """Why two sides cannot be paired; else their summaries."""
    sides = []
    for found, name in zip(summaries, names, strict=True):
        if isinstance(found, int):
            return f"{name} stands for {found} results with different parameters; give a label of `midef table`"
        own, judged = found
        if judged.is_excluded:
            return f"{name} is excluded: {excluded_because(judged.gates)}"
        if not own.accuracies.pair_seeds:
            reasons = "; ".join(dict.fromkeys(f"{p.status}: {p.reason}" for p in own.problems[:1]))
            return f"{name} has no pair of accuracies{f' ({reasons})' if reasons else ''}"
        if matched and not own.is_undefended and not judged.is_matched:
            at = (
                f": {own.match_accuracy:.1f} % for {own.match_target:.1f} %"
                if own.match_accuracy and own.match_target
                else ""
            )
            return f"{name} is not matched{at}"
        sides.append(own)
    differing = [name for name in _SAME if (getattr(sides[0], name, None) != getattr(sides[1], name, None))]
    if differing:
        field = differing[0]
        return f"not the same {field}: {getattr(sides[0], field)} and {getattr(sides[1], field)}"
    if not sides[0].accuracies.pair_seeds & sides[1].accuracies.pair_seeds:
        return "no seed in common"
    return sides[0], sides[1]


def _pair(unit: Unit, sides: _Summaries) -> tuple[Pair, list[str]]:
    """The pair over the common seeds, and what to know of it."""
    before, after = (side.accuracies for side in sides)
    seeds = sorted(before.pair_seeds & after.pair_seeds)
    alone = sorted(before.pair_seeds ^ after.pair_seeds)
    values = {
        (metric, place): dict(one.estimate(metric).by_seed)
        for metric in (ATTACK, NATURAL)
        for place, one in enumerate((before, after))
    }

    def mean(metric: str, place: int) -> float:
        return math.fsum(values[metric, place][seed] for seed in seeds) / len(seeds)

    def drops(metric: str) -> tuple[float, ...]:
        return tuple(values[metric, 0][seed] - values[metric, 1][seed] for seed in seeds)

    pair = Pair(
        unit=unit,
        seeds=tuple(seeds),
        first=mean(ATTACK, 0),
        second=mean(ATTACK, 1),
        first_natural=mean(NATURAL, 0),
        second_natural=mean(NATURAL, 1),
        drops=drops(ATTACK),
        natural_drops=drops(NATURAL),
        attack=paired_difference(ATTACK, before, after, seeds),
        natural=paired_difference(NATURAL, before, after, seeds),
    )
    lost = [f"seed{'' if len(alone) == 1 else 's'} {', '.join(map(str, alone))} on one side only"] if alone else []
    if not pair.attack.is_paired and pair.attack.interval is not None:
        lost.append("not compared image by image; its interval is wider than a paired one")
    return pair, lost


def _overall(pairs: Sequence[Pair]) -> list[Overall]:
    by_defense: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_defense.setdefault(pair.unit[1], []).append(pair)
    level = 1 - (1 - LEVEL) / max(1, len(by_defense))
    return [_over(name, of_defense, level) for name, of_defense in by_defense.items()]


def _over(name: str, pairs: Sequence[Pair], level: float) -> Overall:
    means = [math.fsum(pair.drops) / len(pair.drops) for pair in pairs]
    alone = t_interval(means, level) if len(means) >= SETUPS_FOR_T else None
    both = two_level_bootstrap([pair.drops for pair in pairs], level=level)
    percent = f"{100 * level:.4g} %"
    return Overall(
        name=name,
        pairs=tuple(pairs),
        level=level,
        drop=math.fsum(means) / len(means),
        over_setups=None if alone is None else Interval(*alone, f"{percent} t interval, {len(means)} setups"),
        bootstrap=None if both is None else Interval(*both, f"{percent} two-level bootstrap, setups then seeds"),
    )
