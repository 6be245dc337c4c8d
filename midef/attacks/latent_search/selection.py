"""Which candidates an identity keeps: those the target is surest of, whatever part of the image it sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from midef.attacks.latent_search.memory import in_parts
from midef.attacks.latent_search.views import CROP_DRAWS, randomly_cropped
from midef.datasets.files.augment import mirrored

if TYPE_CHECKING:
    from midef.attacks.target_handle import TargetHandle

SCALE, RATIO = (0.5, 0.9), (0.8, 1.2)
"""Of PPA's crops: the share of the area, and the width to the height."""


def mean_confidence(
    handle: TargetHandle,
    confidence: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    rounds: int,
    seed: int,
    at_once: int,
    crop: bool = True,
) -> Tensor:
    """Mean confidence [N] in images over random views, the same views for all of them.

    Args:
        confidence: of the target in views [B, 3, H, W], [B].
        images: [N, 3, H, W], on the device of the target or moved there part by part.
        rounds: views of each image, >= 1.
        seed: of the views.
        at_once: views that are shown together, as memory holds.
        crop: whether a view is a random resized crop, 50 to 90 % of the area, before half of them are mirrored.

    Source: Struppek et al., ICML 2022 (PPA), final selection of the released code: views are drawn once per batch.
    """
    draws = torch.rand(rounds, CROP_DRAWS + 1, generator=torch.Generator().manual_seed(seed))

    def sure(begin: int, end: int) -> Tensor:
        which = torch.arange(begin, end)
        views = images[which % len(images)].to(handle.device)
        drawn = draws[which // len(images)].to(handle.device)
        if crop:
            views = randomly_cropped(views, drawn[:, :CROP_DRAWS], scale=SCALE, ratio=RATIO)
        return confidence(mirrored(views, drawn[:, CROP_DRAWS] < 0.5)).double().cpu()

    with torch.no_grad():
        each = torch.cat(in_parts(rounds * len(images), at_once, handle, sure))
    return each.view(rounds, len(images)).mean(dim=0)


def best_first(values: Tensor, count: int) -> list[int]:
    """Positions of the `count` largest values [N], the largest first, what is no number last; ties keep their order."""
    numbers = torch.where(values.isnan(), -torch.inf, values)
    order: list[int] = numbers.sort(descending=True, stable=True).indices[:count].tolist()
    return order
