"""Comparison within a setup: differences from the undefended model, Delta, and the front.

All numbers of a comparison are over the same seeds. Where defenses were brought to one accuracy, the one with the lower
attack accuracy is the better one, so only rows within the tolerance are compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from midef.core import outcomes
from midef.core.statistics import Delta, paired_intervals, pareto_front, trade_off_delta, two_level_interval
from midef.results.estimates import SEEDS_FOR_T, Estimate, Interval, seeds_interval

UNDEFENDED = "none"
NATURAL, ATTACK = "natural_accuracy", "attack_accuracy_at_1"
COMPARED = {NATURAL: "test accuracy", ATTACK: "attack accuracy@1"}
"""Metrics that the comparison reads, utility and privacy, in words."""
TRAITS = "trait_accuracy"
"""The other judge of an attack, which needs no evaluator."""
ABSENT = "–"
MARGIN_POINTS = 1.0
"""Points of accuracy: "loses no more than 1 point" is said where the whole interval of the loss is below.

A choice, not a finding: it is less than the differences that papers on defenses discuss, and about the smallest that a
report split of some thousand images can show."""
DELTA_FROM_POINTS = 0.1
"""Least loss of accuracy, in points, that Delta divides by: accuracies are printed to a tenth, and a ratio to less than
that is a ratio to nothing that anybody sees."""


@dataclass(frozen=True)
class Accuracies:
    """The metrics of a defense that are compared, over the same seeds.

    Args:
        natural: estimate of the natural accuracy.
        attack: estimate of the attack accuracy @1.
        outcomes: column `outcomes` of the rows, by metric and seed.
        traits: estimate of the trait accuracy, empty where identities are not drawn from traits.
    """

    natural: Estimate
    attack: Estimate
    outcomes: Mapping[str, Mapping[int, str]] = field(default_factory=lambda: MappingProxyType({}))
    traits: Estimate = field(default_factory=Estimate)

    @property
    def point(self) -> tuple[float, float]:
        """(natural, attack) means for the front; nan where one is missing."""
        natural, attack = (math.nan if mean is None else mean for mean in (self.natural.mean, self.attack.mean))
        return natural, attack

    @property
    def pair_seeds(self) -> frozenset[int]:
        """Seeds with both accuracies."""
        natural, attack = (frozenset(seed for seed, _ in one.by_seed) for one in (self.natural, self.attack))
        return natural & attack

    def estimate(self, metric: str) -> Estimate:
        return {NATURAL: self.natural, ATTACK: self.attack, TRAITS: self.traits}[metric]


@dataclass(frozen=True)
class Difference:
    """How far one accuracy falls from the undefended model to a defense, in points, over the seeds both have.

    Args:
        drop: undefended minus defended, mean over the seeds.
        interval: 95 % interval of `drop`; None where the rows have none.
        is_paired: both models answered the same images, and were compared image by image.
    """

    drop: float
    interval: Interval | None = None
    is_paired: bool = False

    @property
    def falls(self) -> bool:
        """The interval shows it, also as it is printed."""
        return self.interval is not None and round(self.interval.low, 1) > 0

    @property
    def rises(self) -> bool:
        """The interval shows it, also as it is printed."""
        return self.interval is not None and round(self.interval.high, 1) < 0

    def size(self, *, is_rise: bool = False) -> str:
        """`6.0 [3.1, 8.9]`: the drop with its interval, or the rise."""
        sign = -1.0 if is_rise else 1.0
        if self.interval is None:
            return _tenth(sign * self.drop)
        return f"{_tenth(sign * self.drop)} {_span(self.interval, is_rise=is_rise)}"

    @property
    def change(self) -> str:
        """`-0.8 [-2.1, 0.5]`: defended minus undefended."""
        text = self.size(is_rise=True)
        return text if text.startswith("-") else f"+{text}"


def _tenth(points: float) -> str:
    return f"{round(points, 1) + 0.0:.1f}"  # no "-0.0"


def _span(interval: Interval, *, is_rise: bool = False) -> str:
    ends = (-interval.high, -interval.low) if is_rise else (interval.low, interval.high)
    return "[{}, {}]".format(*map(_tenth, ends))


@dataclass(frozen=True)
class TradeOff:
    """A defense against the undefended model of the same setup, over the seeds both have.

    Args:
        delta: None where there is nothing to compare.
        utility: of natural accuracy; None where there is nothing to compare.
        attack: of attack accuracy @1; None likewise.
        reason: why there is no trade-off at all.
        traits: of trait accuracy; None also where it was not measured for both, over all seeds.
    """

    delta: Delta | None = None
    utility: Difference | None = None
    attack: Difference | None = None
    reason: str = ""
    traits: Difference | None = None

    @property
    def delta_value(self) -> float | None:
        """Delta where the loss that it divides by is shown by its interval, and is not tiny."""
        if self.delta is None or self.utility is None or not self.utility.falls:
            return None
        return self.delta.value if self.utility.drop >= DELTA_FROM_POINTS else None

    @property
    def delta_text(self) -> str:
        """Delta (* if unstable), or a dash."""
        value = self.delta_value
        if value is None or self.delta is None:
            return ABSENT
        return f"{value:.2f}{'*' if self.delta.is_unstable else ''}"

    @property
    def words(self) -> str:
        """What was lost and what was won, each only where its interval shows it; a dash without a comparison."""
        return self._said(utility=self.utility, attack=self.attack)

    @property
    def attack_words(self) -> str:
        """`words` of the attack alone, for defenses of equal accuracy."""
        return self._said(utility=None, attack=self.attack)

    def _said(self, *, utility: Difference | None, attack: Difference | None) -> str:
        given = [(utility, utility_words, "acc"), (attack, attack_words, "att")]
        parts, open_parts = [], []
        for difference, words, name in given:
            if difference is None:
                continue
            said = words(difference)
            if said:
                parts.append(said)
            else:
                open_parts.append(f"{name} {difference.change}")
        if not parts and not open_parts:
            return ABSENT
        unresolved = [f"not resolved ({', '.join(open_parts)})"] if open_parts else []
        is_open_first = bool(unresolved) and open_parts[0].startswith("acc")
        said = "; ".join([*unresolved, *parts] if is_open_first else [*parts, *unresolved])
        compared = [one for one in (utility, attack) if one is not None and one.interval is not None]
        return said if all(one.is_paired for one in compared) else f"{said} {UNPAIRED_MARK}"


UNPAIRED_MARK = "(unpaired)"


def utility_words(difference: Difference) -> str:
    """`loses 6.0 [3.1, 8.9]`, `gains ...`, `loses no more than 1 point [-0.4, 0.8]`; "" where nothing is shown."""
    if difference.falls:
        return f"loses {difference.size()}"
    if difference.rises:
        return f"gains {difference.size(is_rise=True)}"
    span = difference.interval
    if span is not None and span.high <= MARGIN_POINTS:
        points = f"{MARGIN_POINTS:g} point{'' if MARGIN_POINTS == 1 else 's'}"
        return f"loses no more than {points} {_span(span)}"
    return ""


def attack_words(difference: Difference) -> str:
    """`leaks 20.4 less [12.0, 28.8]`, `leaks 23.1 more [12.0, 33.9]`; "" where nothing is shown."""
    if not difference.falls and not difference.rises:
        return ""
    is_rise = difference.rises
    points, _, span = difference.size(is_rise=is_rise).partition(" ")
    return f"leaks {points} {'more' if is_rise else 'less'} {span}"


def trade_off(defended: Accuracies, undefended: Accuracies | None) -> TradeOff:
    """Trade-off of a defense, or the reason why there is none.

    Args:
        defended: of the defense, over the compared seeds.
        undefended: of the undefended model, over the same seeds.
    """
    return trade_offs([defended], undefended)[0]


def trade_offs(defended: Sequence[Accuracies], undefended: Accuracies | None) -> list[TradeOff]:
    """Trade-off of each of several defenses; the intervals of all are computed at once."""
    if undefended is None:
        reason = f"the setup has no undefended model (defense {UNDEFENDED!r}) to compare with"
        return [TradeOff(reason=reason)] * len(defended)
    reasons = [_not_compared(one, undefended) for one in defended]
    common = sorted(undefended.pair_seeds)
    has_traits = [
        all(set(common) <= {seed for seed, _ in pair.traits.by_seed} for pair in (undefended, one)) for one in defended
    ]
    asked = [
        Comparison(metric, undefended, one, common)
        for one, reason, has in zip(defended, reasons, has_traits, strict=True)
        if not reason
        for metric in (NATURAL, ATTACK, *([TRAITS] if has else []))
    ]
    differences = iter(paired_differences(asked))
    found = []
    for one, reason, has in zip(defended, reasons, has_traits, strict=True):
        if reason:
            found.append(TradeOff(reason=reason))
            continue
        means = [pair.estimate(metric).mean for pair in (undefended, one) for metric in (NATURAL, ATTACK)]
        assert all(mean is not None for mean in means)
        delta = trade_off_delta(*(mean for mean in means if mean is not None))
        utility, attack = next(differences), next(differences)
        traits = next(differences) if has else None
        found.append(TradeOff(delta, utility=utility, attack=attack, traits=traits))
    return found


def _not_compared(defended: Accuracies, undefended: Accuracies) -> str:
    """Why a defense has no trade-off; "" if it has one."""
    for pair, name in ((undefended, "the undefended model"), (defended, "it")):
        if not (pair.natural.seeds and pair.attack.seeds):
            return f"{name} has no pair of accuracies"
    if undefended.pair_seeds != defended.pair_seeds or not undefended.pair_seeds:
        return "no seed in common with the undefended model"
    return ""


class Comparison(NamedTuple):
    """What a difference is of.

    Args:
        metric: one that is compared.
        before: the first model, whatever it is.
        after: the second.
        seeds: that both have, at least one.
    """

    metric: str
    before: Accuracies
    after: Accuracies
    seeds: Sequence[int]


def paired_difference(metric: str, undefended: Accuracies, defended: Accuracies, seeds: Sequence[int]) -> Difference:
    """How far a metric falls from one model to another, over seeds that both have; image by image where rows allow it.

    Args:
        metric: one that is compared.
        undefended: the first model, whatever it is.
        defended: the second.
        seeds: at least one.
    """
    return paired_differences([Comparison(metric, undefended, defended, seeds)])[0]


def paired_differences(asked: Sequence[Comparison]) -> list[Difference]:
    """`paired_difference` of several comparisons, their intervals at once."""
    return [_difference(one, within) for one, within in zip(asked, _within_runs(asked), strict=True)]


def _difference(asked: Comparison, within: tuple[float, float] | None) -> Difference:
    """The difference, with the ends of the paired interval within the runs, if there is one."""
    before, after = (dict(pair.estimate(asked.metric).by_seed) for pair in (asked.before, asked.after))
    drops = [before[seed] - after[seed] for seed in asked.seeds]
    drop = math.fsum(drops) / len(drops)
    kind, is_paired = "of the same images, paired", within is not None
    if within is None:
        within, kind = (
            _unpaired(asked.before.estimate(asked.metric), asked.after.estimate(asked.metric)),
            "from both within-run intervals",
        )
    if len(drops) < SEEDS_FOR_T:
        runs = f", mean of {len(drops)} runs" if len(drops) > 1 else ""
        return Difference(drop, None if within is None else Interval(*within, f"95 %, {kind}{runs}"), is_paired)
    if within is None:
        alone = seeds_interval(drops)
        return Difference(drop, None if alone is None else Interval(*alone, "95 %, over seeds alone"))
    return Difference(drop, Interval(*two_level_interval(within, drops), f"95 %, over seeds, and {kind}"), is_paired)


def _within_runs(asked: Sequence[Comparison]) -> list[tuple[float, float] | None]:
    """Ends of each paired interval in points, averaged over runs; None unless all runs judged the same images."""
    runs = [_judged(one) for one in asked]
    spans = iter(paired_intervals([run for of_one in runs for run in of_one or ()]))
    found: list[tuple[float, float] | None] = []
    for of_one in runs:
        if of_one is None:
            found.append(None)
            continue
        ends = zip(*islice(spans, len(of_one)), strict=True)
        low, high = (100 * math.fsum(side) / len(of_one) for side in ends)
        found.append((low, high))
    return found


def _judged(asked: Comparison) -> list[tuple[Any, Any, Any]] | None:
    """Successes before and after, and identities, of each run; None unless all judged the same images."""
    texts = [pair.outcomes.get(asked.metric, {}) for pair in (asked.before, asked.after)]
    runs = []
    for seed in asked.seeds:
        before, after = (outcomes.read(of_metric.get(seed, "")) for of_metric in texts)
        if before is None or after is None or not before.is_paired_with(after):
            return None
        runs.append((before.hits, after.hits, before.identities))
    return runs


def _unpaired(before: Estimate, after: Estimate) -> tuple[float, float] | None:
    """Ends of the interval of a difference from the intervals of both, in points; None if one has none.

    Source: R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998), 873-890, method 10. The two share their identities, so it is on the wide side.
    """
    first, second = before.within_run, after.within_run
    if first is None or second is None or before.mean is None or after.mean is None:
        return None
    drop = before.mean - after.mean
    below = math.hypot(before.mean - first.low, second.high - after.mean)
    above = math.hypot(first.high - before.mean, after.mean - second.low)
    return drop - below, drop + above


def compared_seeds(pair_seeds: Sequence[frozenset[int]], reference: int | None) -> frozenset[int]:
    """Seeds that the numbers of a setup are over: those that all its defenses have, if there are any.

    Else those of the largest number of defenses that share a seed, the undefended model among them; of several such
    choices the one of most seeds. A defense without these seeds is compared with nothing.

    Args:
        pair_seeds: seeds with both accuracies, of each defense.
        reference: index of the undefended model, None without.
    """
    with_any = [seeds for seeds in pair_seeds if seeds]
    if not with_any:
        return frozenset()
    known = pair_seeds[reference] if reference is not None and pair_seeds[reference] else frozenset().union(*with_any)

    def shared_with(seed: int) -> frozenset[int]:
        return frozenset.intersection(*(seeds for seeds in with_any if seed in seeds))

    def order(seed: int) -> tuple[int, int, int]:
        return -sum(seed in seeds for seeds in with_any), -len(shared_with(seed)), seed

    return shared_with(min(known, key=order))


def matched_front(points: Sequence[tuple[float, float]], targets: Sequence[float | None]) -> set[int]:
    """Indices of points on the front, for each matched accuracy apart.

    Args:
        points: (natural, attack) accuracy of each defense.
        targets: the accuracy each was matched to; None for one that is not matched, which is on no front.
    """
    front: set[int] = set()
    for target in {target for target in targets if target is not None}:
        members = [i for i, one in enumerate(targets) if one == target]
        front |= {members[i] for i in pareto_front([points[i] for i in members])}
    return front
