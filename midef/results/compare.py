"""Comparison within a setup: Delta against the undefended model, and the front.

Where defenses were brought to one accuracy, the one with the lower attack accuracy is the better one, so only rows
within the tolerance are compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from midef.core.statistics import Delta, pareto_front, t_interval, trade_off_delta
from midef.results.estimates import SEEDS_FOR_T, Estimate, Interval

UNDEFENDED = "none"
NATURAL, ATTACK = "natural_accuracy", "attack_accuracy_at_1"
COMPARED = {NATURAL: "test accuracy", ATTACK: "attack accuracy@1"}
"""Metrics that the comparison reads, utility and privacy, in words."""
ABSENT = "–"


class Accuracies(NamedTuple):
    """The two metrics of a defense that are compared."""

    natural: Estimate
    attack: Estimate

    @property
    def point(self) -> tuple[float, float]:
        """(natural, attack) means for the front; nan where one is missing."""
        natural, attack = (math.nan if mean is None else mean for mean in (self.natural.mean, self.attack.mean))
        return natural, attack


@dataclass(frozen=True)
class TradeOff:
    """Delta against the undefended model of the same setup, over the seeds both have.

    Args:
        delta: None where there is nothing to compare.
        utility_drop: of natural accuracy in percentage points, undefended minus defended.
        attack_drop: of attack accuracy @1, likewise.
        utility_drop_interval: paired t interval from three seeds on; below that, from the two within-run intervals
            (they share test images, so it is on the wide side, and it is blind to differences between trainings).
        is_utility_lost: False if the drop is not above 0 or its interval reaches 0; then Delta is not shown.
        reason: why there is no trade-off at all.
        attack_drop_interval: paired t interval from three seeds on.
    """

    delta: Delta | None = None
    utility_drop: float | None = None
    attack_drop: float | None = None
    utility_drop_interval: Interval | None = None
    is_utility_lost: bool = False
    reason: str = ""
    attack_drop_interval: Interval | None = None

    @property
    def text(self) -> str:
        """Delta (* if unstable), "no utility lost" (not below), "no clear loss" (the interval reaches 0), or a dash."""
        if self.delta is None:
            return ABSENT
        if self.delta.value is None:
            return "no utility lost"
        if not self.is_utility_lost:
            return "no clear loss"
        return f"{self.delta.value:.2f}{'*' if self.delta.is_unstable else ''}"

    @property
    def changes(self) -> str:
        """Both changes in points where Delta is not shown; else ""."""
        if self.utility_drop is None or self.attack_drop is None or self.is_utility_lost:
            return ""
        gained, more = (round(-drop, 1) + 0.0 for drop in (self.utility_drop, self.attack_drop))  # no "-0.0"
        return f"(acc {gained:+.1f}, att {more:+.1f})"


def trade_off(defended: Accuracies, undefended: Accuracies | None) -> TradeOff:
    """Trade-off of a defense, or the reason why there is none."""
    if undefended is None:
        return TradeOff(reason=f"the setup has no undefended model (defense {UNDEFENDED!r}) to compare with")
    before, after = ([dict(metric.by_seed) for metric in pair] for pair in (undefended, defended))
    common = sorted(set.intersection(*(set(values) for values in before + after)))
    if not common:
        for pair, name in ((undefended, "the undefended model"), (defended, "it")):
            if not (pair.natural.seeds and pair.attack.seeds):
                return TradeOff(reason=f"{name} has no pair of accuracies")
        return TradeOff(reason="no seed in common with the undefended model")
    delta = trade_off_delta(*(math.fsum(values[s] for s in common) / len(common) for values in before + after))
    natural_drops, attack_drops = ([b[s] - a[s] for s in common] for b, a in zip(before, after, strict=True))
    interval = _utility_drop_interval(undefended.natural, defended.natural, natural_drops)
    reaches_zero = interval is not None and interval.low <= 0 <= interval.high
    return TradeOff(
        delta=delta,
        utility_drop=delta.utility_drop,
        attack_drop=delta.attack_drop,
        utility_drop_interval=interval,
        is_utility_lost=delta.verdict == "ok" and not reaches_zero,
        attack_drop_interval=_paired(attack_drops),
    )


def _paired(drops: Sequence[float]) -> Interval | None:
    """Interval of the mean drop, the seeds paired; None below three seeds."""
    over_seeds = t_interval(drops) if len(drops) >= SEEDS_FOR_T else None
    return Interval(*over_seeds, f"95 % t interval of {len(drops)} paired differences") if over_seeds else None


def _utility_drop_interval(undefended: Estimate, defended: Estimate, drops: Sequence[float]) -> Interval | None:
    """Interval of the drop in natural accuracy; see `TradeOff`."""
    paired = _paired(drops)
    if paired is not None:
        return paired
    before, after = undefended.within_run, defended.within_run
    if before is None or after is None:
        return None
    half = math.hypot(before.high - before.low, after.high - after.low) / 2
    drop = math.fsum(drops) / len(drops)
    return Interval(drop - half, drop + half, "from the two within-run 95 % intervals")


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
