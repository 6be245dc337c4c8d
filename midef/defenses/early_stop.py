"""Early stopping: a checkpoint of a training, as the target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from typing_extensions import override

from midef.defenses.base import DEFENSES, Defense
from midef.defenses.tuning import NotTuned, Tuning


@DEFENSES.add("early_stop")
@dataclass(frozen=True, kw_only=True)
class EarlyStop(Defense):
    """Stop the training early, with the schedule of the whole: what a checkpoint of the training would be.

    Combined with another defense it is a checkpoint of that one's training. It shows whether a defense hides more than
    the accuracy that it costs: an undefended training that is stopped at the same accuracy hides something, too.

    Args:
        at: share of the epochs that are trained, above 0, at most 1 (off), rounded to whole epochs, at least one;
            smaller hides more.

    Source: Ho et al., CVPR 2024, sections 4.3 and 6.2, whose Fig. 1-III attacks several checkpoints of each training.
    We differ: each checkpoint is a target of its own, trained again to where it stops, with the same bits.
    """

    paper: ClassVar[str] = "Ho et al., CVPR 2024 (arXiv 2405.05588), the control of section 4.3"
    acts_on: ClassVar[str] = "how long is trained"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="at", low=0.05, high=0.9, larger_hides=False)
    needs_unseen: ClassVar[str] = "a training in two phases has no one course that could be stopped"

    at: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.at <= 1:
            raise ValueError(f"needs 0 < at <= 1, got {self.at}")

    @property
    @override
    def ends_at(self) -> float:
        return self.at

    @override
    def off(self) -> Self:
        return replace(self, at=1.0)
