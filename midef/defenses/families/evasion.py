"""Adversarial examples in the logits: answers that a trained inversion network draws badly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.families.substitutes import Aided, Labelled
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.families.alignment import Substitute

LEAST_SCORE = 1e-30
"""Scores that are smaller count as this much, so that a logit is a number."""


@dataclass(frozen=True, kw_only=True)
class Climbing(Labelled, Aided):
    """A defense that climbs the error of a substitute inversion network in the logits.

    Args:
        bound: of the noise on the logits; 0 changes nothing, larger hides more.
        step: > 0.
        rounds: >= 1.
        labels: see `Labelled`.
        inverter_width, inverter_blocks, inverter_epochs, inverter_batch, inverter_rate, inverter_loss, half: see
            `Aided`.
    """

    small: ClassVar[Mapping[str, Any]] = {**Aided.small, "rounds": 2}
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="bound", low=0.01, high=100.0, scale="log")

    bound: float = 1.0
    step: float
    rounds: int = 10

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound < 0 or self.step <= 0 or self.rounds < 1:
            raise ValueError("needs bound >= 0, step > 0 and rounds >= 1")

    @property
    @override
    def is_off(self) -> bool:
        return self.bound == 0

    @override
    def off(self) -> Self:
        return replace(self, bound=0.0)


def logits_of(probabilities: Tensor) -> Tensor:
    """Logits [B, K] whose softmax is these probabilities."""
    return probabilities.clamp(min=LEAST_SCORE).log()


def slope_of_error(substitute: Substitute, logits: Tensor, images: Tensor) -> Tensor:
    """Gradient [B, K] of the substitute's loss on each image with respect to the logits of its answer."""
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        (slope,) = torch.autograd.grad(substitute.losses(leaf.softmax(dim=1), images).sum(), leaf)
    return slope


def climbed(
    substitute: Substitute,
    start: Tensor,
    images: Tensor,
    *,
    rounds: int,
    step: Callable[[Tensor], Tensor],
    bounded: Callable[[Tensor], Tensor],
    corrected: Callable[[Tensor], Tensor] = lambda logits: logits,
) -> Tensor:
    """Logits [B, K] after steps up the substitute's loss.

    Args:
        step: of a gradient [B, K].
        bounded: noise within its bound, of noise on the starting logits.
        corrected: of the logits after each step, before the noise is bounded.
    """
    logits = start
    for _ in range(rounds):
        logits = corrected(logits + step(slope_of_error(substitute, logits, images)))
        logits = start + bounded(logits - start)
    return logits


def shortened(noise: Tensor, bound: float, order: float) -> Tensor:
    """Noise [B, K], scaled to the bound where its norm of this order is larger."""
    lengths: Tensor = torch.linalg.vector_norm(noise, ord=order, dim=1, keepdim=True)
    return noise * (bound / lengths.clamp(min=1e-30)).clamp(max=1.0)
