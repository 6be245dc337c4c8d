"""Results of accuracy matching: plain data that the store keeps and the dashboard draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from midef.core.accuracy import accuracy_of
from midef.core.gates import Gate, match_target_gate, target_gate, tolerance_gate

State = Literal["matched", "unreachable", "fixed", "at chance", "undecided", "failed"]
Phase = Literal["reference", "search", "confirm"]


@dataclass(frozen=True, kw_only=True)
class Match:
    """Accuracy of a cell's defense, and the accuracy it was matched to.

    Args:
        target: percent on the select split, None where unknown.
        tolerance: points.
        accuracy: percent on the select split, mean over the seeds, None where unknown.
        seeds: number of trainings.
        is_matched: whether accuracy and target differ by at most the tolerance, with every confirming seed trained.
    """

    target: float | None
    tolerance: float
    accuracy: float | None
    seeds: int
    is_matched: bool


@dataclass(frozen=True, kw_only=True)
class MatchTraining:
    """One training that matching requested.

    Args:
        strength: as the defense names it, None for a defense that has none.
        seed: of the training.
        accuracy: percent on the select split, None of a training that diverged or failed.
        phase: why it was requested.
        target_key: its artifact.
        reason: why there is no accuracy.
        failure: kind of the failure.
    """

    strength: float | None
    seed: int
    accuracy: float | None
    phase: Phase
    target_key: str
    reason: str = ""
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class MatchOutcome:
    """Result of matching one defense on one network and data set.

    Args:
        defense: as written.
        defense_name: its registered name.
        architecture: of the target model.
        private: its data set.
        setups: ids of the setups that attack it.
        target: percent on the select split.
        target_text: the target as the specification gives it.
        tolerance: points.
        state: `matched`; `unreachable`, no strength of the range comes within the tolerance, `ends` tell how near both
            ends come; `fixed`, a defense without a strength that is not within the tolerance as it is; `at chance`,
            networks that guess would be matched, or matched to; `undecided`, the trainings allowed were spent, or
            matching was interrupted; `failed`.
        reason: of any other state than `matched`.
        parameter: the strength that was searched, "" for a defense without.
        low: lower end of its range.
        high: upper end of its range.
        scale: of its range.
        larger_hides: whether the upper end protects more.
        chosen: the defense at the strength that is attacked (the nearest one if the target is unreachable), ""
            where there is none.
        strength: of `chosen`.
        accuracy: of `chosen`, mean over `seeds`.
        report_accuracy: the same on the report split, looked at for the chosen strength alone.
        noise: standard deviation between seeds, points, over all trainings.
        seeds: trained at the chosen strength.
        ends: trainings at both ends of the range.
        trainings: all of them, in order.
        study: name of the Optuna study.
        chance: accuracy of a blind guess, percent; None in reports of an older midef.
        select_images: of the select split; None where unknown.
    """

    defense: str
    defense_name: str
    architecture: str
    private: str
    setups: tuple[str, ...]
    target: float | None
    target_text: str
    tolerance: float
    state: State
    reason: str = ""
    parameter: str = ""
    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log"] = "linear"
    larger_hides: bool = True
    chosen: str = ""
    strength: float | None = None
    accuracy: float | None = None
    report_accuracy: float | None = None
    noise: float | None = None
    seeds: tuple[int, ...] = ()
    ends: tuple[MatchTraining, ...] = ()
    trainings: tuple[MatchTraining, ...] = ()
    study: str = ""
    chance: float | None = None
    select_images: int | None = None

    def __post_init__(self) -> None:
        if self.state not in get_args(State):
            raise ValueError(f"state must be one of {', '.join(get_args(State))}, got {self.state!r}")
        if self.state != "matched" and not self.reason:
            raise ValueError(f"{self.defense} on {self.architecture} is {self.state!r} without a reason")

    @property
    def gap(self) -> float | None:
        """Accuracy minus target, in points; None where either is unknown."""
        return None if self.accuracy is None or self.target is None else self.accuracy - self.target

    @property
    def gates(self) -> tuple[Gate, ...]:
        """What its numbers exclude it for, or what has to be noted about it."""
        gates: list[Gate | None] = []
        if self.chance is not None and self.target is not None:
            gates.append(match_target_gate(self.target, self.chance))
        if self.chance is not None and self.accuracy is not None:
            gates.append(target_gate(accuracy_of(self.accuracy, self.chance, n=self.select_images)))
        if self.select_images is not None:
            gates.append(tolerance_gate(self.tolerance, self.select_images))
        return tuple(gate for gate in gates if gate is not None)


@dataclass(frozen=True, kw_only=True)
class MatchReport:
    """Results of matching one sweep.

    Args:
        sweep: its name.
        digest: of the sweep and of what it is matched to.
        profile: of the sweep.
        outcomes: one for each defense on each network and data set.
        trained: trainings of the last run; the others were stored already.
        storage: path of the Optuna studies, relative to the store.
        driver: digest of the sweep alone, which its driver is known by.
    """

    sweep: str
    digest: str
    profile: str
    outcomes: tuple[MatchOutcome, ...]
    trained: int = 0
    storage: str = ""
    driver: str = ""

    def as_plain(self) -> dict[str, Any]:
        """JSON data that `from_plain` reads back."""
        return asdict(self)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> MatchReport:
        """Inverse of `as_plain`."""
        outcomes = []
        for one in data["outcomes"]:
            trainings = {name: tuple(MatchTraining(**t) for t in one[name]) for name in ("ends", "trainings")}
            outcomes.append(
                MatchOutcome(**{**one, **trainings, "setups": tuple(one["setups"]), "seeds": tuple(one["seeds"])})
            )
        return cls(**{**data, "outcomes": tuple(outcomes)})
