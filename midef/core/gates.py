"""When a number is no result: the limits, each with its reason, and the words for them.

Pure functions. *Excluded* numbers are stored and shown with the reason, and are never on a front, ticked, matched or
compared. *Noted* ones are compared and carry a mark. Published numbers are not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from midef.core.accuracy import Accuracy, accuracy_of, percent, percent_beside

Grade = Literal["excluded", "noted"]

LEAST_EVALUATOR_SHARE = 0.5
"""Share of the way from chance to 100 %. An evaluator half way knows every second image and guesses the others; with
one below, attack accuracy says more about the evaluator than about the attack."""
WEAK_EVALUATOR_PERCENT = 80.0
"""The weakest published evaluator, of Stanford Dogs, has 79.79 %. Such a judge takes every fifth private image for
somebody else, and attack accuracy misses that much."""
LEAST_CEILING_PERCENT = 50.0
"""A judge that knows fewer of the true private images misses every second success, and sees half of a difference."""
FEW_IMAGES = 20
"""Attacked images. Of fewer, one is more than 5 points, and no 95 % interval is shorter than 16 points."""
RISING_LOG_ODDS = 0.1
"""A rise of the target's confidence from one fifth of the steps to the next. At this rate twice as many steps would add
0.28 (log-odds grow with the logarithm of the steps where a search slows down): 7 points from 50 %."""
SATURATED = 0.95
"""Confidence with which a search has found what it looks for, rising or not."""
EVERY_DEFENSE = "every defense here"
FRACTION_UP_TO = 1.0
"""A target accuracy of at most 1 % was written as a fraction: nobody matches to so little."""


@dataclass(frozen=True)
class Gate:
    """Why a number is excluded, or what has to be noted about it.

    Args:
        grade: how much it weighs.
        subject: what the reason is about, such as `evaluator`; one gate of a subject stands for those of all seeds.
        reason: in words, with the numbers.
    """

    grade: Grade
    subject: str
    reason: str


@dataclass(frozen=True)
class Limit:
    """One line of the table of limits in the documentation."""

    grade: Grade
    what: str
    why: str


LIMITS = (
    Limit(
        "excluded",
        "the evaluator's accuracy, or its 95 % interval, reaches down to chance",
        "it cannot tell identities apart, so it judges nothing",
    ),
    Limit(
        "excluded",
        f"the evaluator is below {100 * LEAST_EVALUATOR_SHARE:g} % of the way from chance to 100 %",
        "attack accuracy then says more of the evaluator than of the attack",
    ),
    Limit(
        "excluded",
        "the target network's accuracy, or its 95 % interval, reaches down to chance",
        "it has learned nothing that an attack could find",
    ),
    Limit(
        "excluded",
        "the accuracy that defenses are matched to is at or below chance",
        "networks that guess are equally accurate whatever the defense",
    ),
    Limit(
        "excluded",
        "the interval of the attack accuracy reaches down to chance for every defense of the setup, the undefended "
        "model included",
        "an attack that finds nothing anywhere says nothing about defenses",
    ),
    Limit(
        "noted",
        f"the evaluator is below {WEAK_EVALUATOR_PERCENT:g} %: a weak judge",
        "attack accuracy is too low by what it misses (the weakest published evaluator, of Stanford Dogs, has 79.79 %)",
    ),
    Limit(
        "noted",
        f"fewer than {FEW_IMAGES} reconstructions were judged",
        "one more or less is more than 5 points",
    ),
    Limit(
        "noted",
        f"the ceiling of trait accuracy, what true private images reach through the regressor, is below "
        f"{LEAST_CEILING_PERCENT:g} %",
        "it misses every second true image; raise regressor_images",
    ),
    Limit(
        "noted",
        "the tolerance of a matching is finer than one image of the select split",
        "whether it is met is chance",
    ),
    Limit(
        "noted",
        "attack not converged: in the last fifth of its steps the target's mean confidence is below "
        f"{100 * SATURATED:g} % and still rises (log-odds by at least {RISING_LOG_ODDS:g} from the fifth before, 95 % "
        "interval over identities above 0)",
        "more steps may find more ([slow or blocked?](traces.md))",
    ),
)
"""What `midef` does not show as a result, or not without a mark; the documentation prints this table."""


def evaluator_gate(accuracy: Accuracy) -> Gate | None:
    """What is wrong with an evaluator of this accuracy; None for nothing."""
    if not math.isfinite(accuracy.value):
        return evaluator_gate_without_chance(accuracy.value)
    chance = percent(accuracy.chance)
    if accuracy.is_at_chance:
        reason = f"the evaluator has {accuracy.text} where chance is {chance}: it cannot judge"
        return Gate("excluded", "evaluator", reason)
    least = accuracy.chance + LEAST_EVALUATOR_SHARE * (100 - accuracy.chance)
    if accuracy.value < least:
        way = "half way" if LEAST_EVALUATOR_SHARE == 0.5 else f"{100 * LEAST_EVALUATOR_SHARE:g} % of the way"
        value = percent_beside(accuracy.value, least)
        reason = f"the evaluator has {value}, less than {way} from chance ({chance}) to 100 %: it cannot judge"
        return Gate("excluded", "evaluator", reason)
    return evaluator_gate_without_chance(accuracy.value)


def stored_evaluator_gate(stored: Mapping[str, Any], chance: float | None, *, report_images: int | None) -> Gate | None:
    """What is wrong with the evaluator of stored scores; None for nothing, and where none was stored.

    Args:
        stored: `evaluator_accuracy`, `evaluator_low` and `evaluator_high`, percent; older ones have no interval.
        chance: percent; None where unknown.
        report_images: of the report split, for Wilson's interval where none is stored.
    """
    value = stored.get("evaluator_accuracy")
    if value is None:
        return None
    if chance is None:
        return evaluator_gate_without_chance(value)
    low, high = stored.get("evaluator_low"), stored.get("evaluator_high")
    return evaluator_gate(accuracy_of(value, chance, low=low, high=high, n=report_images))


def evaluator_gate_without_chance(value: float) -> Gate | None:
    """What is wrong with an evaluator of an accuracy in percent, where chance may be unknown; None for a good judge."""
    if not math.isfinite(value):
        return Gate("excluded", "evaluator", "the evaluator's accuracy is not a number: it cannot judge")
    if value >= WEAK_EVALUATOR_PERCENT:
        return None
    limit = WEAK_EVALUATOR_PERCENT
    reason = f"weak judge: the evaluator has {percent_beside(value, limit)}, below {limit:g} %"
    return Gate("noted", "evaluator", reason)


def target_gate(accuracy: Accuracy) -> Gate | None:
    """What is wrong with a target network of this accuracy; None for nothing."""
    if not accuracy.is_at_chance:
        return None
    reason = (
        f"the target network has {accuracy.text} where chance is {percent(accuracy.chance)}: it has learned nothing "
        "that an attack could find"
    )
    return Gate("excluded", "target", reason)


def attack_gate(attacks: Sequence[Accuracy], *, has_undefended: bool) -> Gate | None:
    """What is wrong with a setup whose attack accuracies are these, one per defense; None for nothing.

    Args:
        attacks: of everything measured.
        has_undefended: one of them is that of the undefended model.
    """
    if not attacks or not all(attack.is_at_chance for attack in attacks):
        return None
    undefended = "the undefended model included" if has_undefended else "and no undefended model shows that it works"
    reason = (
        f"the attack is at chance ({percent(attacks[0].chance)}) for {EVERY_DEFENSE}, {undefended}: this setup says "
        "nothing about defenses"
    )
    return Gate("excluded", "attack", reason)


def images_gate(n: int) -> Gate | None:
    """The note on an attack accuracy of n images; None for enough."""
    if n >= FEW_IMAGES:
        return None
    images = f"{n} reconstruction{' was' if n == 1 else 's were'} judged"
    return Gate("noted", "images", f"{images}, fewer than {FEW_IMAGES}: one is {100 / max(n, 1):.1f} points")


def ceiling_gate(name: str, ceiling: float) -> Gate | None:
    """The note on a judge of this ceiling, percent; None for a good one.

    Args:
        name: of the metric, as shown.
    """
    if ceiling >= LEAST_CEILING_PERCENT:
        return None
    limit = LEAST_CEILING_PERCENT
    reason = f"{name} is too low: true private images reach {percent_beside(ceiling, limit)} there, below {limit:g} %"
    return Gate("noted", f"ceiling of {name}", reason)


def match_target_gate(target: float, chance: float) -> Gate | None:
    """What is wrong with an accuracy to match, in percent; None for nothing."""
    if target > chance:
        return None
    side = "chance" if target == chance else "below chance"
    at, guessed = percent(target), percent(chance)
    if at == guessed:
        at = percent_beside(target, chance)
    reason = f"the accuracy to match, {at}, is {side} ({guessed}): networks that guess match it"
    return Gate("excluded", "match target", reason)


def tolerance_gate(tolerance: float, select_images: int) -> Gate | None:
    """The note on a tolerance in points, matched on so many images of the select split; None for a coarse one."""
    if select_images < 1 or tolerance >= 100 / select_images:
        return None
    reason = (
        f"the tolerance of {tolerance:g} points is finer than one image of the select split ({select_images} images, "
        f"{100 / select_images:.2g} points each)"
    )
    return Gate("noted", "tolerance", reason)


def search_gate(end: float, rise: float, low: float) -> Gate | None:
    """The note on a search that was ended while the target's confidence still rose; None for any other.

    Args:
        end: mean confidence in the last fifth of the steps, 0 to 1.
        rise: of its log-odds, over the fifth before.
        low: lower end of the interval of the rise.
    """
    if end >= SATURATED or rise < RISING_LOG_ODDS or low <= 0:
        return None
    reason = (
        "attack not converged: the target's confidence still rose in the last fifth of the steps, and more steps may "
        "find more"
    )
    return Gate("noted", "search", reason)


def written_target_problem(target: float, identities: int) -> str:
    """Why nobody matches to this accuracy; "" for one that can be matched to.

    Args:
        target: as written, in percent.
        identities: that the target network tells apart.
    """
    chance = 100 / identities
    side = "below" if target < chance else "at" if target == chance else "above"
    about = f"{target:g} % is {side} chance ({chance:.3g} % of {identities} identities)"
    if target <= FRACTION_UP_TO:
        return f"{about}; targets are percentages, did you mean {100 * target:g}?"
    return "" if side == "above" else f"{about}, which networks that guess reach: give a target above it"


def is_excluded(gates: Iterable[Gate]) -> bool:
    """True if any of them excludes."""
    return any(gate.grade == "excluded" for gate in gates)


def excluded_because(gates: Iterable[Gate]) -> str:
    """Reasons of those that exclude, joined; "" without any."""
    return "; ".join(gate.reason for gate in gates if gate.grade == "excluded")


def noted_because(gates: Iterable[Gate]) -> str:
    """Reasons of those that are noted, joined; "" without any."""
    return "; ".join(gate.reason for gate in gates if gate.grade == "noted")
