"""OnePara: a stand-in for the one-parameter defense by differential privacy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from typing_extensions import override

from midef.defenses.base import DEFENSES
from midef.defenses.families.substitutes import Labelled
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.serving import Query


@DEFENSES.add("one_para")
@dataclass(frozen=True, kw_only=True)
class OnePara(Labelled):
    """Answer with the weights of the exponential mechanism: exp(privacy v / 2) of each score v, divided by their sum.

    Ranks are kept; the smaller the budget, the nearer all scores come to each other.

    Args:
        privacy: budget, > 0, smaller hides more; None changes nothing.
        labels: see `Labelled`.

    Source: stand-in. Ye et al., TIFS 2022, modify and normalise scores by a mechanism of differential privacy with one
    parameter and keep their order; its formula could not be obtained. These are the weights of the exponential
    mechanism for a utility of sensitivity 1. The distortions that the LPA data-poisoning paper prints for it (0.97 to
    0.99 with 5 classes) are larger than any that keeps order and sum can have (0.894): do not try to match them.
    """

    paper: ClassVar[str] = "stand-in for Ye et al., TIFS 2022"
    acts_on: ClassVar[str] = "answers"
    tuning: ClassVar[Tuning | NotTuned] = NotTuned("it keeps ranks, so the accuracy is the network's")

    privacy: float | None = 1.0

    def __post_init__(self) -> None:
        if self.privacy is not None and self.privacy <= 0:
            raise ValueError(f"needs privacy > 0, or none given, got {self.privacy}")

    @property
    @override
    def is_off(self) -> bool:
        return self.privacy is None

    @override
    def off(self) -> Self:
        return replace(self, privacy=None)

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        if self.privacy is None:
            return query.probabilities
        return self.labelled(query, (self.privacy * query.probabilities / 2).softmax(dim=1))
