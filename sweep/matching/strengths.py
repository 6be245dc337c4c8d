"""Strength of a defense: its parameter, range and scale, and the defense at a value of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from midef.core.choice import Choice
from midef.core.errors import SpecError, did_you_mean
from midef.defenses import DEFENSES, Defense, NotTuned, Tuning
from midef.defenses.base import STACK
from midef.defenses.stack import choose_defense, remake_defense
from midef.sweep.spec.matching import MatchSpec, RangeSpec

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from midef.models.base import ModelFacts

DIGITS = 4
"""Significant digits of a strength: labels stay readable. The sampler takes more where seeds leave no choice."""


@dataclass(frozen=True)
class Strength:
    """Strength parameter of a defense, as its class declares it; of a stack, that of its first member with one.

    Args:
        written: the defense as the specification has it. Its other parameters stay; those tied to the strength keep
            their ratio.
        tuning: parameter, range, scale.
        member: index of the member of the stack.
    """

    written: Choice
    tuning: Tuning
    member: int = 0

    @classmethod
    def of(
        cls,
        written: Choice,
        ranges: Mapping[str, RangeSpec] | None = None,
        networks: Iterable[ModelFacts] = (),
    ) -> Strength | None:
        """The strength of a defense, None where it has none.

        Args:
            written: the defense.
            ranges: other ends of the range, by the label of the defense, or by the name of its member.
            networks: facts of those it is searched on; a range that depends on the network is what all of them allow.

        Raises:
            SpecError: if an end is one the defense does not accept, or the range is empty.
        """
        defense, networks = remake_defense(written), tuple(networks)
        for member, part in enumerate(defense.parts()):
            tuning = _tuning_of(part, defense, networks)
            if isinstance(tuning, NotTuned):
                continue
            name = type(part).registered_name  # type: ignore[attr-defined]
            label, known = DEFENSES.describe(part).label, ranges or {}
            tuning = _with_written_ratios(tuning, part)
            limits = known.get(written.label) or known.get(label) or known.get(name)
            if limits is not None:
                tuning = _with_limits(tuning, limits, name)
            strength = cls(written, tuning, member)
            strength._check_ends(name)
            return strength
        return None

    def _check_ends(self, name: str) -> None:
        """Check that the defense accepts both ends.

        Raises:
            SpecError: if it does not; names the defense.
        """
        for end in (self.tuning.low, self.tuning.high):
            if self.is_whole and end != round(end):
                raise SpecError(f"match.ranges.{name}: {self.tuning.parameter} is a whole number, got {end:g}")
            try:
                self.at(end)
            except SpecError as error:
                hint = f"give other ends, as in match.ranges: {{{name}: {{low: ..., high: ...}}}}"
                raise SpecError([f"match.ranges.{name}, end {end:g}: {p}; {hint}" for p in error.problems]) from None

    @property
    def _part(self) -> Defense:
        return remake_defense(self.written).parts()[self.member]

    @property
    def is_whole(self) -> bool:
        """True for integer strengths, such as a rank."""
        return isinstance(getattr(self._part, self.tuning.parameter), int)

    @property
    def start(self) -> float | None:
        """The strength as written, None outside the range."""
        value = float(getattr(self._part, self.tuning.parameter))
        return value if self.tuning.low <= value <= self.tuning.high else None

    @property
    def falls(self) -> bool:
        """True if accuracy is expected to fall towards the high end."""
        return self.tuning.larger_hides

    def at(self, strength: float, **beside: float) -> Choice:
        """The defense at a strength.

        Args:
            strength: value of the parameter.
            beside: second strengths; by default they are tied to the first, rounded to 4 significant digits.

        Raises:
            SpecError: if the defense does not accept it.
        """
        values: dict[str, Any] = {name: significant(v) for name, v in self.tuning.params(strength).items()}
        values |= {**beside, self.tuning.parameter: strength}
        if self.is_whole:
            values[self.tuning.parameter] = int(values[self.tuning.parameter])
        parts = list(remake_defense(self.written).parts())
        name = type(parts[self.member]).registered_name  # type: ignore[attr-defined]
        parts[self.member] = DEFENSES.make(name, {**asdict(parts[self.member]), **values})
        chosen = [DEFENSES.describe(part) for part in parts]
        if self.written.name != STACK:
            return chosen[0]
        return choose_defense({STACK: [{"name": c.name, **c.params} for c in chosen]})

    def rounded(self, strength: float) -> float:
        """The nearest readable strength: a whole number, or 4 significant digits; never outside the range."""
        value = float(round(strength)) if self.is_whole else significant(strength)
        return min(max(value, self.tuning.low), self.tuning.high)

    def distribution(self) -> BaseDistribution:
        """Range of the strength in Optuna's terms."""
        return self._distribution(self.tuning.low, self.tuning.high, whole=self.is_whole)

    def distributions_beside(self) -> dict[str, BaseDistribution]:
        """Ranges of the strength and of those searched together with it."""
        second = {name: self._distribution(low, high) for name, (low, high) in self.tuning.beside.items()}
        return {self.tuning.parameter: self.distribution(), **second}

    def _distribution(self, low: float, high: float, *, whole: bool = False) -> BaseDistribution:
        from optuna.distributions import FloatDistribution, IntDistribution

        log = self.tuning.scale == "log"
        return IntDistribution(int(low), int(high), log=log) if whole else FloatDistribution(low, high, log=log)

    def hiding(self, strength: float) -> float:
        """Place of a strength in its range, 0 to 1, on its own scale; 1 hides most."""
        low, high, value = self.tuning.low, self.tuning.high, strength
        if self.tuning.scale == "log":
            low, high, value = math.log(low), math.log(high), math.log(value)
        place = (value - low) / (high - low)
        return place if self.tuning.larger_hides else 1 - place


def _tuning_of(part: Defense, defense: Defense, networks: Sequence[ModelFacts]) -> Tuning | NotTuned:
    """The strength of a part whose range all these networks allow, as the other parts prepare them."""
    tuning = part.tuned_by()
    for facts in networks:
        for other in defense.parts():
            facts = facts if other is part else other.facts_after(facts)
        here = part.tuned_on(facts)
        if isinstance(here, NotTuned) or isinstance(tuning, NotTuned):
            return here
        tuning = replace(here, low=max(tuning.low, here.low), high=min(tuning.high, here.high))
    return tuning


def why_untuned(defense: Defense, networks: Iterable[ModelFacts] = ()) -> str:
    """Why accuracy matching has nothing to search of a defense on these networks; "" if it has."""
    networks = tuple(networks)
    tunings = [_tuning_of(part, defense, networks) for part in defense.parts()]
    reasons = [tuning.reason for tuning in tunings if isinstance(tuning, NotTuned)]
    return "; ".join(reasons) if len(reasons) == len(defense.parts()) else ""


def _with_written_ratios(tuning: Tuning, part: Defense) -> Tuning:
    """Tie parameters to the strength in the ratio in which the defense is written; 0 keeps the declared ratio."""
    value = float(getattr(part, tuning.parameter))
    ratios = {name: getattr(part, name) / value for name in tuning.tied} if value > 0 else {}
    return replace(tuning, tied={name: ratios.get(name) or ratio for name, ratio in tuning.tied.items()})


def _with_limits(tuning: Tuning, limits: RangeSpec, name: str) -> Tuning:
    low = tuning.low if limits.low is None else limits.low
    high = tuning.high if limits.high is None else limits.high
    try:
        return replace(tuning, low=low, high=high)
    except ValueError as error:
        raise SpecError(f"match.ranges.{name}: {error}") from None


def significant(value: float) -> float:
    """Round to 4 significant digits."""
    return float(f"{value:.{DIGITS}g}")


def match_problems(match: MatchSpec, defenses: list[Choice], seeds: int) -> list[str]:
    """Everything wrong with an accuracy-matching section.

    Args:
        match: the section.
        defenses: of the sweep.
        seeds: number of seeds that the mean is taken over.
    """
    problems: list[str] = []
    if match.trainings < seeds:
        problems.append(
            f"match.trainings: {match.trainings} are fewer than the {seeds} seeds that one strength takes; allow more"
        )
    if match.reference is not None:
        try:
            choose_defense(match.reference[0])
        except SpecError as error:
            problems += [f"match.target: {p} (give a percentage, a defense, or `none - 2`)" for p in error.problems]
    problems += _range_problems(match, defenses)
    if match.confirm is not None and len(set(match.confirm)) < len(match.confirm):
        problems.append(f"match.confirm: {match.confirm} holds a seed twice")
    return problems


def _range_problems(match: MatchSpec, defenses: list[Choice]) -> list[str]:
    problems: list[str] = []
    searched = set()
    for written in defenses:
        try:
            strength = Strength.of(written, match.ranges)
        except SpecError as error:
            problems += error.problems
            continue
        if strength is not None:
            searched |= {written.label, str(type(strength._part).registered_name)}  # type: ignore[attr-defined]
    listed = {name for name in match.ranges if name in {word for d in defenses for word in (d.name, d.label)}}
    for name in sorted(set(match.ranges) - searched - listed):
        problems.append(f"match.ranges: {name!r} is no defense of this sweep; {did_you_mean(name, sorted(searched))}")
    return problems + [f"match.ranges: {name} has no strength to search" for name in sorted(listed - searched)]
