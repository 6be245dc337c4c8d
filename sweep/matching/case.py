"""One defense to be matched, and the result of its search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from midef.core.canonical import digest
from midef.core.choice import Choice
from midef.core.match import MatchOutcome, Phase, State
from midef.core.recipe import Recipe
from midef.stages.recipes import NO_DEFENSE
from midef.sweep.matching.concurrent import RequestedTraining, Search, TrainingRequest
from midef.sweep.matching.seed_policy import Goal, SeedGroup
from midef.sweep.matching.strengths import Strength
from midef.sweep.spec.matching import MatchSpec
from midef.sweep.spec.resolve import Entry


@dataclass(frozen=True)
class StrengthResult:
    """Result of one search.

    Args:
        outcome: as it is stored.
        choice: the defense at the strength to attack, None where there is none.
    """

    outcome: MatchOutcome
    choice: Choice | None


StrengthSearch: TypeAlias = Search[StrengthResult]


@dataclass(frozen=True)
class Case:
    """One defense on one network and data set, with the setups that attack it.

    Args:
        entries: those setups; all train the same target.
        written: the defense as the specification has it.
        strength: None for a defense without one.
        seeds: the first is searched with, the mean is over all.
        spec: what accuracy is matched to.
    """

    entries: tuple[Entry, ...]
    written: Choice
    strength: Strength | None
    seeds: tuple[int, ...]
    spec: MatchSpec

    def target(self, choice: Choice, seed: int) -> Recipe:
        """The recipe of the trained network."""
        return self.entries[0].cell(choice, seed).recipes.target

    def request(self, choice: Choice, strength: float | None, seeds: Iterable[int], phase: Phase) -> TrainingRequest:
        """Trainings of one strength that differ in the seed."""
        return TrainingRequest([RequestedTraining(self.target(choice, s), strength, s, phase) for s in seeds])

    def goal(self, target: float) -> Goal:
        """When a strength matches this target."""
        return Goal(target, self.spec.tolerance, self.seeds)

    @property
    def chance(self) -> float | None:
        """Accuracy of a blind guess, percent; None where the number of identities is not known."""
        identities = self.entries[0].identities
        return 100 / identities if identities else None

    @cached_property
    def group_key(self) -> str:
        """Identifies network, data and training, whatever the defense."""
        return self.entries[0].cell(NO_DEFENSE, self.seeds[0]).recipes.target.key.digest

    def study_name(self, target: float) -> str:
        """Readable name of the Optuna study; the digest at its end tells apart what reads the same."""
        assert self.strength is not None, "a defense without a strength has no study"
        setup = self.entries[0].setup
        content = {"defense": self.written.keyed, "tuning": self.strength.tuning, "side": self.group_key}
        content |= {"seeds": self.seeds, "target": round(target, 4)}
        where = f"{setup.target}, {setup.private.label}"
        return f"{self.written.label} on {where} to {target:.2f} [{digest(content)[:10]}]"

    def result(
        self,
        target: float | None,
        state: State,
        reason: str = "",
        *,
        group: SeedGroup | None = None,
        choice: Choice | None = None,
        **fields: Any,
    ) -> StrengthResult:
        """The result for this case.

        Args:
            target: accuracy that was searched for, percent; None where it is not known.
            state: of the outcome.
            reason: of any state other than matched.
            group: trainings at the strength to attack, none of them diverged.
            choice: the defense to attack; where there is a group, by default the one at its strength.
            fields: further fields of `MatchOutcome`.
        """
        setup, spec = self.entries[0].setup, self.spec
        if self.strength is not None:
            tuning = self.strength.tuning
            fields |= {"parameter": tuning.parameter, "low": tuning.low, "high": tuning.high, "scale": tuning.scale}
            fields |= {"larger_hides": tuning.larger_hides}
            if group is not None:
                choice = choice or self.strength.at(group.strength)
                fields |= {"strength": group.strength, "accuracy": group.accuracy}
                fields |= {"seeds": tuple(sorted(group.trainings))}
        outcome = MatchOutcome(
            defense=self.written.label,
            defense_name=self.written.name,
            architecture=setup.target,
            private=setup.private.label,
            setups=tuple(entry.setup.id for entry in self.entries),
            target=target,
            target_text=spec.target_text,
            tolerance=spec.tolerance,
            state=state,
            reason=reason,
            chosen="" if choice is None else choice.label,
            chance=self.chance,
            **fields,
        )
        return StrengthResult(outcome, choice)
