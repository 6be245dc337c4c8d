"""What accuracy matching found: plain data that the store keeps and the dashboard draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

State = Literal["matched", "unreachable", "fixed", "undecided", "failed"]
Phase = Literal["reference", "search", "confirm"]


@dataclass(frozen=True, kw_only=True)
class Match:
    """How near a cell's defense came to the accuracy it was matched to.

    target, accuracy: percent on the select split, accuracy as the mean over `seeds` trainings, None where unknown;
    tolerance: points. is_matched: whether they differ by at most the tolerance, with every seed that was to confirm it.
    """

    target: float | None
    tolerance: float
    accuracy: float | None
    seeds: int
    is_matched: bool


@dataclass(frozen=True, kw_only=True)
class MatchTraining:
    """One training that matching asked for.

    strength: as the defense names it, None for a defense that has none; accuracy: percent on the select split, None of
    a training that diverged or failed, as `reason` and `failure`, its kind, say; phase: why it was asked for;
    target_key: its artifact.
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
    """What was found for one defense on one network and data set.

    defense: as written; parameter, low, high, scale: the strength that was searched, "" and None for a defense without;
    larger_hides: which end protects more. target: percent on the select split; target_text: as it was asked for.
    state: `matched`; `unreachable`, no strength of the range comes within the tolerance, `ends` tell how near both ends
    come; `fixed`, a defense without a strength that is not within the tolerance as it is; `undecided`, the trainings
    allowed were spent, or matching was interrupted; `failed`. reason: of any other state than `matched`.
    chosen: the defense at the strength that is handed to the attacks (of an unreachable target the nearest one), ""
    where there is none; accuracy: its mean over `seeds`; report_accuracy: the same on the report split, looked at for
    the chosen strength alone. noise: standard deviation between seeds, points, over all that is known. setups: ids of
    the setups that use it. study: its name among the Optuna studies.
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

    def __post_init__(self) -> None:
        if self.state not in get_args(State):
            raise ValueError(f"state must be one of {', '.join(get_args(State))}, got {self.state!r}")
        if self.state != "matched" and not self.reason:
            raise ValueError(f"{self.defense} on {self.architecture} is {self.state!r} without a reason")

    @property
    def gap(self) -> float | None:
        """Accuracy minus target, in points; None where either is unknown."""
        return None if self.accuracy is None or self.target is None else self.accuracy - self.target


@dataclass(frozen=True, kw_only=True)
class MatchReport:
    """Everything one matching found.

    digest: of the sweep and of what it is matched to; driver: of the sweep alone, as its driver is known by. trained:
    trainings the last run had to do, the others were stored already. storage: of the Optuna studies, relative to the
    store.
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
