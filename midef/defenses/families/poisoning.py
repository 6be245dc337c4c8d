"""What the defenses share that poison answers by gradient alignment within an L2 ball."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.families.alignment import Alignment, project
from midef.defenses.families.answers import moved
from midef.defenses.families.substitutes import Aided, Labelled
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.families.alignment import Substitute
    from midef.defenses.serving import Query

PUBLISHED_MS: Mapping[str, float] = {"MNIST": 3.69, "Fashion-MNIST": 3.61, "CIFAR-10": 3.59, "FaceScrub": 9.71}
"""Milliseconds of a perturbation in the LPA data-poisoning paper, where a prediction takes 0.35 to 0.39."""


@dataclass(frozen=True, kw_only=True)
class Poisoning(Aided):
    """Base of the defenses whose answers poison the training of an inversion network.

    Args:
        radius: largest L2 distance of an answer from the network's; 0 changes nothing, larger hides more.
        rounds: of gradient descent, >= 0; 0 leaves the random start.
        step: length of the first one in multiples of the radius, see `Alignment`.
        normalise: how an answer sums to 1 again: the perturbation's `mean` is taken off first, or all is divided by the
            `sum`; see `moved`.

    Every perturbation starts from its image's own random direction, at the radius.
    """

    paper: ClassVar[str] = "Zhou et al., Defending Against Neural Network Model Inversion Attacks via Data Poisoning"

    radius: float = 0.004
    rounds: int = 10
    step: float = 0.5
    normalise: Literal["mean", "sum"] = "mean"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius < 0 or self.rounds < 0 or self.step <= 0:
            raise ValueError("needs radius and rounds >= 0 and step > 0")

    def descent(
        self, alignment: Literal["joint", "per_query"], distance: Literal["cosine", "squared"] = "cosine"
    ) -> Alignment:
        """The descent of the perturbations."""
        return Alignment(rounds=self.rounds, step=self.step, radius=self.radius, alignment=alignment, distance=distance)

    def start(self, query: Query) -> Tensor:
        """Perturbations [B, K] at the radius, each in its image's own direction."""
        drawn = query.normal(query.probabilities.shape[1])
        return project(self.radius * torch.nn.functional.normalize(drawn, dim=1), self.radius)


@dataclass(frozen=True, kw_only=True)
class PoisoningAll(Labelled, Poisoning):
    """Base of those that poison every answer and keep its label.

    Args:
        alignment: `joint` aligns the gradient of a whole batch of queries, as the paper does, so an answer depends on
            the others; `per_query` aligns that of each query alone, as a server can.
        batch: queries of one call that are aligned together, in their order; >= 1.
    """

    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="radius", low=1e-4, high=1.0, scale="log")
    small: ClassVar[Mapping[str, Any]] = {**Aided.small, "rounds": 2}
    distance: ClassVar[Literal["cosine", "squared"]] = "cosine"

    alignment: Literal["joint", "per_query"] = "joint"
    batch: int = 128

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 1:
            raise ValueError(f"needs batch >= 1, got {self.batch}")

    @property
    @override
    def is_off(self) -> bool:
        return self.radius == 0

    @property
    @override
    def answers_jointly(self) -> bool:
        return self.alignment == "joint" and not self.is_off

    @property
    @override
    def answer_budget(self) -> float | None:
        return self.radius

    @override
    def off(self) -> Self:
        return replace(self, radius=0.0)

    @override
    def answer(self, query: Query, state: Substitute | None) -> Tensor:
        if state is None:
            return query.probabilities
        begins = range(0, len(query), self.batch)
        parts = [self._poisoned(query.rows(slice(begin, begin + self.batch)), state) for begin in begins]
        return torch.cat(parts)

    def _poisoned(self, query: Query, substitute: Substitute) -> Tensor:
        """Answers to a batch that is aligned together."""
        given = query.probabilities

        def move(delta: Tensor) -> Tensor:
            return moved(given, delta, self.radius, normalise=self.normalise)

        descent = self.descent(self.alignment, type(self).distance)
        delta, _ = descent.descend(substitute, move, self.start(query), query.images)
        return self.labelled(query, move(delta))
