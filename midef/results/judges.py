"""Two judges of the same reconstructions, an evaluator and the traits, and where they disagree about a defense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from midef.core.gates import LEAST_CEILING_PERCENT
from midef.results.compare import TRAITS, UNDEFENDED, Difference
from midef.results.estimates import Estimate
from midef.results.summary import SummaryRow, is_matched_setup

ESTIMATE_MARK = "~"
"""Before a number that rests on what a network reads from images."""


@dataclass(frozen=True)
class Change:
    """How the leak changes from the undefended model to a defense, in percent of what the undefended model leaks above
    chance: -100 where nothing is left of it. Judges that see different shares of one leak agree in this unit.

    Args:
        percent: mean over the seeds.
        low: lower end of the 95 % interval of the difference, in the same unit; the undefended leak counts as known.
        high: upper end.
    """

    percent: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """`-58 % [-70, -46]`."""
        return f"{round(self.percent):+d} % [{round(self.low):+d}, {round(self.high):+d}]"


def change_of(difference: Difference | None, undefended: Estimate, chance: float | None) -> Change | None:
    """The change of a leak; None where the interval of the undefended leak reaches chance: there is nothing to change.

    Args:
        difference: of the accuracy.
        undefended: accuracy of the undefended model.
        chance: percent.
    """
    if difference is None or difference.interval is None or undefended.mean is None or chance is None:
        return None
    if undefended.within_run is None or undefended.within_run.low <= chance:
        return None
    scale = -100 / (undefended.mean - chance)
    return Change(scale * difference.drop, scale * difference.interval.high, scale * difference.interval.low)


@dataclass(frozen=True)
class Judges:
    """What both judges say about a defense.

    Args:
        evaluator: by attack accuracy @1.
        traits: by trait accuracy.
    """

    evaluator: Change
    traits: Change

    @property
    def disagree(self) -> bool:
        """The intervals do not overlap, also as they are printed."""
        one, other = self.evaluator, self.traits
        return round(one.high) < round(other.low) or round(other.high) < round(one.low)


def judges_of(row: SummaryRow, group: Sequence[SummaryRow]) -> Judges | None:
    """Both judges of a defense; None where it is not compared, or one judge sees no leak of the undefended model, or
    misses most of the true images.

    Args:
        row: of the setup.
        group: all rows of the setup.
    """
    undefended = next((one for one in group if one.is_undefended), None)
    if undefended is None or row.is_undefended or (is_matched_setup(group) and not row.is_matched):
        return None
    ceilings = [one.estimate(TRAITS).ceiling for one in (row, undefended)]
    if any(ceiling is not None and ceiling < LEAST_CEILING_PERCENT for ceiling in ceilings):
        return None
    evaluator = change_of(row.trade_off.attack, undefended.attack_accuracy_at_1, undefended.chance)
    traits = change_of(row.trade_off.traits, undefended.estimate(TRAITS), undefended.chance)
    return None if evaluator is None or traits is None else Judges(evaluator, traits)


def judges_words(row: SummaryRow, group: Sequence[SummaryRow]) -> str:
    """One sentence where evaluator and traits disagree about a defense; else ""."""
    judges = judges_of(row, group)
    if judges is None or not judges.disagree:
        return ""
    mark = ESTIMATE_MARK if row.estimate(TRAITS).is_estimate else ""
    return (
        f"judges disagree about {row.defense}: against {UNDEFENDED} the leak above chance changes by "
        f"{judges.evaluator.text} for the evaluator (att@1), by {mark}{judges.traits.text} in traits (trait@1)"
    )
