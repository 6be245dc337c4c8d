"""Noise on the scores: the simplest defense of answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.base import DEFENSES
from midef.defenses.families.substitutes import Labelled
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.serving import Query


@DEFENSES.add("noisy_scores")
@dataclass(frozen=True, kw_only=True)
class NoisyScores(Labelled):
    """Add independent noise to every score, raise negative ones to 0, and divide by the sum.

    Args:
        scale: standard deviation of the noise; 0 changes nothing, larger hides more.
        law: `laplace`, as mechanisms of differential privacy draw it, `normal` or `uniform`.
        labels: see `Labelled`.

    Source: noise as a defense: Fredrikson et al., USENIX Security 2014 (differential privacy); Salem et al., USENIX
    Security 2020 (on the posteriors). Neither is followed in detail, and no privacy budget is claimed.
    """

    paper: ClassVar[str] = "Fredrikson et al., USENIX Security 2014; Salem et al., USENIX Security 2020"
    acts_on: ClassVar[str] = "answers"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="scale", low=1e-4, high=1.0, scale="log")

    scale: float = 0.01
    law: Literal["laplace", "normal", "uniform"] = "laplace"

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise ValueError(f"needs scale >= 0, got {self.scale}")

    @property
    @override
    def is_off(self) -> bool:
        return self.scale == 0

    @override
    def off(self) -> Self:
        return replace(self, scale=0.0)

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        given = query.probabilities
        if self.is_off:
            return given
        noisy = (given + self.scale * self._noise(query, given.shape[1])).clamp(min=0)
        total = noisy.sum(dim=1, keepdim=True)
        return self.labelled(query, torch.where(total > 0, noisy / total.clamp(min=1e-30), 1 / given.shape[1]))

    def _noise(self, query: Query, columns: int) -> Tensor:
        """[B, K] of standard deviation 1."""
        if self.law == "normal":
            return query.normal(columns)
        centred = query.uniform(columns) - 0.5
        if self.law == "uniform":
            return centred * 12**0.5
        return -centred.sign() * (1 - 2 * centred.abs()).clamp(min=1e-30).log() / 2**0.5
