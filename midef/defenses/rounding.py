"""Output rounding: answer with coarse probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.base import DEFENSES, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.serving import Query


@DEFENSES.add("rounding")
@dataclass(frozen=True, kw_only=True)
class Rounding(Defense):
    """Serve probabilities rounded to `decimals` digits and scaled to sum to 1. Training does not change.

    Args:
        decimals: 0 to 7, smaller hides more; None changes nothing. The predicted class never changes: where
            rounding makes a tie or leaves only zeros, the class that was first keeps a lead of one last digit.

    Source: Fredrikson, Jha, Ristenpart, CCS 2015, section 6 (rounding of confidence values).
    We differ: they do not say what happens to ties and to the sum.
    """

    paper: ClassVar[str] = "Fredrikson et al., CCS 2015"
    acts_on: ClassVar[str] = "answers"
    tuning: ClassVar[Tuning | NotTuned] = NotTuned("it changes what is served, and hardly the accuracy")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ccs2015": {"decimals": 1}}

    decimals: int | None = 2

    def __post_init__(self) -> None:
        if self.decimals is not None and not 0 <= self.decimals <= 7:
            raise ValueError(f"needs decimals from 0 to 7, or none; got {self.decimals}")

    @property
    @override
    def keeps_labels(self) -> bool:
        return True

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        probabilities = query.probabilities
        if self.decimals is None:
            return probabilities
        grid = 10.0**self.decimals
        top = probabilities.argmax(dim=1, keepdim=True)
        rounded = torch.round(probabilities * grid)
        others = rounded.scatter(1, top, -1.0).amax(dim=1, keepdim=True)
        lead = torch.maximum(rounded.gather(1, top), others + 1)
        rounded = rounded.scatter(1, top, lead)
        return rounded / rounded.sum(dim=1, keepdim=True)

    @override
    def off(self) -> Self:
        return replace(self, decimals=None)
