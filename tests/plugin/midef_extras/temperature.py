"""Hot answers: serve softened probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from typing_extensions import override

from midef.defenses.base import DEFENSES, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.serving import Query


@DEFENSES.add("temperature")
@dataclass(frozen=True, kw_only=True)
class Temperature(Defense):
    """Soften probabilities before they are served.

    Args:
        tau: > 0; 1 changes nothing, larger hides more.
    """

    paper: ClassVar[str] = "illustration"
    acts_on: ClassVar[str] = "answers"
    tuning: ClassVar[Tuning | NotTuned] = NotTuned("it changes what is served, not the accuracy")

    tau: float = 4.0

    def __post_init__(self) -> None:
        if self.tau <= 0:
            raise ValueError(f"needs tau > 0, got {self.tau}")

    @property
    @override
    def keeps_labels(self) -> bool:
        return True

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        softened = query.probabilities.pow(1 / self.tau)
        return softened / softened.sum(dim=1, keepdim=True)

    @override
    def off(self) -> Self:
        return replace(self, tau=1.0)
