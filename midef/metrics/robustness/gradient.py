"""Adversarial images by the gradient of the loss: FGSM, BIM and PGD, untargeted and targeted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from midef.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

    Logits = Callable[[Tensor], Tensor]

EPSILON = 8 / 255
STEP = 2 / 255
STEPS = 10
"""Defaults of torchattacks. LoFt's own strengths are not legible in our copy of its appendix E."""


def fgsm(logits_of: Logits, images: Tensor, labels: Tensor, *, targeted: bool, epsilon: float = EPSILON) -> Tensor:
    """One step of `epsilon` along the sign of the gradient.

    Args:
        logits_of: images [B, 3, H, W] in [0, 1] to logits [B, K].
        images: [B, 3, H, W] in [0, 1].
        labels: [B], the true label, whose loss rises; with `targeted` the wanted one, whose loss falls.
        targeted: what the labels are.
        epsilon: >= 0, largest change of a pixel.

    Returns:
        [B, 3, H, W] in [0, 1].

    Source: Goodfellow, Shlens, Szegedy, ICLR 2015.
    """
    return _step(logits_of, images, labels, targeted, epsilon)


def bim(
    logits_of: Logits,
    images: Tensor,
    labels: Tensor,
    *,
    targeted: bool,
    epsilon: float = EPSILON,
    step: float = STEP,
    steps: int = STEPS,
    start: Tensor | None = None,
) -> Tensor:
    """Repeat `fgsm` with a small step, projected onto the ball of radius `epsilon` (largest change of a pixel).

    Args:
        logits_of, images, labels, targeted, epsilon: as in `fgsm`.
        step: > 0, change of a pixel in a step.
        steps: >= 0.
        start: [B, 3, H, W] in [0, 1], within the ball; the images themselves if it is not given.

    Source: Kurakin, Goodfellow, Bengio, ICLR 2017 workshop.
    """
    changed = images if start is None else start
    for _ in range(steps):
        moved = _step(logits_of, changed, labels, targeted, step)
        changed = (images + (moved - images).clamp(-epsilon, epsilon)).clamp(0, 1)
    return changed


def pgd(
    logits_of: Logits,
    images: Tensor,
    labels: Tensor,
    *,
    targeted: bool,
    rng: Generator,
    epsilon: float = EPSILON,
    step: float = STEP,
    steps: int = STEPS,
) -> Tensor:
    """Run `bim` from a uniform random point of the ball.

    Args:
        logits_of, images, labels, targeted, epsilon, step, steps: as in `bim`.
        rng: of the starting point, on the CPU.

    Source: Madry et al., ICLR 2018.
    """
    noise = (2 * torch.rand(images.shape, generator=rng) - 1) * epsilon
    start = (images + noise.to(images)).clamp(0, 1)
    return bim(logits_of, images, labels, targeted=targeted, epsilon=epsilon, step=step, steps=steps, start=start)


def _step(logits_of: Logits, images: Tensor, labels: Tensor, targeted: bool, size: float) -> Tensor:
    with torch.enable_grad():
        seen = images.detach().clone().requires_grad_(True)
        loss = F.cross_entropy(logits_of(seen), labels, reduction="sum")  # of each image on its own
        (gradient,) = torch.autograd.grad(loss, seen)
    return (images + (-size if targeted else size) * gradient.sign()).clamp(0, 1).detach()
