"""Adversarial images with one pixel changed, found without gradients by differential evolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from midef.metrics.robustness.gradient import Logits

POPULATION, GENERATIONS = 10, 10
"""Defaults of torchattacks; LoFt's own are not legible in our copy."""
LEAST_FACTOR, MOST_FACTOR = 0.5, 1.0


def one_pixel(
    logits_of: Logits,
    images: Tensor,
    labels: Tensor,
    *,
    targeted: bool,
    rng: Generator,
    population: int = POPULATION,
    generations: int = GENERATIONS,
) -> Tensor:
    """Replace the colour of the one pixel that moves the probability of the label most.

    A candidate is a place and a colour, five numbers in [0, 1]. In each generation every candidate is challenged by
    best + factor * (one - another), with a factor from [0.5, 1] for the generation, and replaced if that is better;
    numbers that leave [0, 1] are drawn anew.

    Args:
        logits_of: images [B, 3, H, W] in [0, 1] to logits [B, K]; gradients are not used.
        images: [B, 3, H, W] in [0, 1].
        labels: [B], the true label, whose probability falls; with `targeted` the wanted one, whose probability rises.
        targeted: what the labels are.
        rng: on the CPU.
        population: >= 3, candidates of each image.
        generations: >= 0.

    Returns:
        [B, 3, H, W] in [0, 1], each image with its best candidate, at most one pixel away.

    Source: Su, Vargas, Sakurai, IEEE Trans. Evolutionary Computation 2019; differential evolution as `best1bin` with
    recombination 1, which torchattacks runs by SciPy.
    We differ: all images evolve in one batch, and the first population is uniform, where SciPy's is stratified.
    """
    count = len(images)
    candidates = torch.rand(count, population, 5, generator=rng)
    cost = _cost(logits_of, images, labels, candidates, targeted)
    rows = torch.arange(count)
    for _ in range(generations):
        best = candidates[rows, cost.argmin(dim=1)][:, None]
        order = torch.rand(count, population, population, generator=rng).argsort(dim=2)[:, :, :2]
        one, another = (candidates[rows[:, None], order[:, :, i]] for i in (0, 1))
        factor = LEAST_FACTOR + (MOST_FACTOR - LEAST_FACTOR) * torch.rand(1, generator=rng)
        trial = best + factor * (one - another)
        fresh = torch.rand(trial.shape, generator=rng)
        trial = torch.where((trial < 0) | (trial > 1), fresh, trial)
        challenged = _cost(logits_of, images, labels, trial, targeted)
        better = challenged < cost
        candidates = torch.where(better[:, :, None], trial, candidates)
        cost = torch.where(better, challenged, cost)
    return changed_pixels(images, candidates[rows, cost.argmin(dim=1)])


def changed_pixels(images: Tensor, candidates: Tensor) -> Tensor:
    """Images [B, 3, H, W] with one pixel replaced.

    Args:
        images: [B, 3, H, W].
        candidates: [B, 5] in [0, 1]: row and column as shares of the sides, then the colour.
    """
    rows, columns = (
        (candidates[:, axis] * side).long().clamp(max=side - 1) for axis, side in enumerate(images.shape[2:])
    )
    changed = images.clone()
    changed[torch.arange(len(images)), :, rows, columns] = candidates[:, 2:].to(images)
    return changed


def _cost(logits_of: Logits, images: Tensor, labels: Tensor, candidates: Tensor, targeted: bool) -> Tensor:
    """[B, P], lower is better: the probability of the label, of a wanted one its negative."""
    count, population, _ = candidates.shape
    repeated = images.repeat_interleave(population, dim=0)
    with torch.no_grad():
        logits = logits_of(changed_pixels(repeated, candidates.reshape(-1, 5)))
    wanted = logits.softmax(dim=1).gather(1, labels.repeat_interleave(population)[:, None])
    probability = wanted.reshape(count, population).cpu()
    return -probability if targeted else probability
