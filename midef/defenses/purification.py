"""Purification: an autoencoder takes from answers what differs between images of one class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.recipe import Recipe
from midef.datasets.base import Half
from midef.defenses.base import DEFENSES
from midef.defenses.families.substitutes import PURIFIER, SUBSTITUTE_VERSION, Labelled, loaded, own_images
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.serving import Query, Served
    from midef.nn.answer_networks import Purifier


@DEFENSES.add("purification")
@dataclass(frozen=True, kw_only=True)
class Purification(Labelled):
    """Serve what an autoencoder makes of the answer, or a point on the way to it.

    It learns to give the answers to public images back (squared distance) and their classes (cross entropy, weighted).

    Args:
        share: of the way, 0 to 1; 0 changes nothing, larger hides more.
        hidden, narrow: units of the autoencoder, and of its narrowest layer.
        label_weight: of the cross entropy.
        epochs, batch, rate: of its training by Adam.
        half: see `Aided`.
        labels: see `Labelled`.

    Source: Yang et al., 2020 (prediction purification), from its description. We differ: they train it against an
    inversion network too, which is left out here, and sizes and weights are ours.
    """

    paper: ClassVar[str] = "Yang et al., 2020 (arXiv 2005.03915)"
    acts_on: ClassVar[str] = "answers"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="share", low=0.05, high=1.0)
    small: ClassVar[Mapping[str, Any]] = {"hidden": 8, "epochs": 2}

    share: float = 1.0
    hidden: int = 64
    narrow: int = 8
    label_weight: float = 0.1
    epochs: int = 50
    batch: int = 64
    rate: float = 1e-3
    half: Half = "all"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.label_weight < 0:
            raise ValueError(f"needs share in [0, 1] and label_weight >= 0, got {self.share} and {self.label_weight}")
        if min(self.hidden, self.narrow, self.epochs, self.batch) < 1 or self.rate <= 0:
            raise ValueError("needs hidden, narrow, epochs and batch >= 1 and rate > 0")

    @property
    @override
    def is_off(self) -> bool:
        return self.share == 0

    @override
    def off(self) -> Self:
        return replace(self, share=0.0)

    @override
    def serving(self, behind: Recipe, public: Recipe | None) -> Mapping[str, Recipe]:
        if self.is_off:
            return {}
        names = ("hidden", "narrow", "label_weight", "epochs", "batch", "rate", "half")
        params = {name: getattr(self, name) for name in names}
        inputs = {"public": own_images(self, public), "target": behind}
        return {PURIFIER: Recipe("substitute", PURIFIER, params, inputs, SUBSTITUTE_VERSION)}

    @override
    def answer_state(self, served: Served) -> Purifier | None:
        if self.is_off:
            return None
        from midef.nn.answer_networks import Purifier

        return loaded(Purifier(served.n_classes, self.hidden, self.narrow), PURIFIER, served)

    @override
    def answer(self, query: Query, state: Purifier | None) -> Tensor:
        if state is None:
            return query.probabilities
        given = query.probabilities
        return self.labelled(query, given + self.share * (state(given) - given))
