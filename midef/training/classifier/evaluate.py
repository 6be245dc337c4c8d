"""Accuracy of a classifier."""

from __future__ import annotations

import torch

from midef.core.errors import TrainingDiverged
from midef.core.position import steps
from midef.core.upload import uploaded
from midef.datasets import Images
from midef.nn.network import TargetModel
from midef.training.data_parallel import World, summed

EVALUATED_AT_ONCE = 256
"""Images whose accuracy is computed at a time. Changes memory and speed, not results."""


@torch.no_grad()
def accuracy(
    model: TargetModel,
    part: Images,
    *,
    device: str,
    batch_size: int = EVALUATED_AT_ONCE,
    world: World | None = None,
) -> float:
    """Top-1 accuracy of the logits, in percent; leaves the model in eval mode.

    Args:
        batch_size: images at a time; changes memory and speed, not results.
        world: workers that all call this, each for its share of the images; all get the same number.

    Raises:
        TrainingDiverged: if logits are not finite: their largest one says nothing.
    """
    world = world or World()
    model.eval()
    hits, broken = torch.zeros(2, dtype=torch.int64, device=device)
    mine = torch.arange(len(part)).tensor_split(world.size)[world.rank]
    first, end = (int(mine[0]), int(mine[-1]) + 1) if len(mine) else (0, 0)
    labels = part.labels.to(device)
    for start in steps(range(first, end, batch_size)):  # in step
        stop = min(start + batch_size, end)
        images = uploaded(part.images[start:stop], device).float() / 255
        logits = model(images).logits
        hits += (logits.argmax(dim=1) == labels[start:stop]).sum()
        broken += (~logits.isfinite().all(dim=1)).sum()
    if lost := summed(int(broken), device, world):
        raise TrainingDiverged(
            f"the logits of {lost} of {len(part)} images are not finite; lower learning_rate, set clip_norm, or "
            "weaken the defense"
        )
    return 100.0 * summed(int(hits), device, world) / max(1, len(part))
