"""Batches of an epoch, and the random changes of their images."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from midef.datasets.files.augment import color_jitter, flip, resized_crop, shift
from midef.defenses import Defense
from midef.defenses.training_state import TrainingState
from midef.training.recipe import TrainingRecipe


def batches_of_epoch(
    labels: Tensor, recipe: TrainingRecipe, defense: Defense, state: TrainingState, rng: Generator
) -> list[Tensor]:
    """Batches of one epoch, as positions in the train split with labels [N]."""
    selected = defense.images_of_epoch(labels, rng)
    count = len(labels) if selected is None else len(selected)
    batches = state.batches(count, rng)
    if batches is None:
        selected_labels = labels if selected is None else labels[selected]
        batches = batches_of(selected_labels, recipe.batch_size, defense.images_per_identity, rng)
    return batches if selected is None else [selected[batch] for batch in batches]


def batches_of(labels: Tensor, batch_size: int, images_per_identity: int, rng: Generator) -> list[Tensor]:
    """Index tensors of one epoch. The last incomplete batch is dropped, unless it is the only one."""
    n = len(labels)
    if images_per_identity:
        return _balanced_batches(labels, batch_size, images_per_identity, rng)
    order = torch.randperm(n, generator=rng)
    full = n // batch_size
    return [order] if full == 0 else list(order[: full * batch_size].view(full, batch_size))


def _balanced_batches(labels: Tensor, batch_size: int, images_per_identity: int, rng: Generator) -> list[Tensor]:
    """Batches of batch_size / images_per_identity identities, with that many images of each (drawn again if fewer)."""
    members = [torch.nonzero(labels == k).squeeze(1) for k in labels.unique()]
    identities = max(1, min(len(members), batch_size // images_per_identity))
    batches: list[Tensor] = []
    queue: list[int] = []
    for _ in range(max(1, len(labels) // batch_size)):
        if len(queue) < identities:
            queue = torch.randperm(len(members), generator=rng).tolist()
        drawn, queue = queue[:identities], queue[identities:]
        picked = []
        for k in drawn:
            order = torch.randperm(len(members[k]), generator=rng)
            picked.append(members[k][order.repeat(images_per_identity)[:images_per_identity]])
        batches.append(torch.cat(picked))
    return batches


def augment(images: Tensor, recipe: TrainingRecipe, rng: Generator) -> Tensor:
    """The recipe's random changes of images [B, 3, H, W], each image on its own, on the device."""
    if recipe.crop_scale is not None:
        images = resized_crop(images, rng, scale=recipe.crop_scale)
    if any(recipe.color_jitter):
        brightness, contrast, saturation, hue = recipe.color_jitter
        images = color_jitter(images, rng, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    if recipe.flip:
        images = flip(images, rng, p=recipe.flip)
    if recipe.jitter_px:
        images = shift(images, rng, pixels=recipe.jitter_px)
    return images
