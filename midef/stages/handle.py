"""A stored target as those who ask it see it: behind its access level, and behind the defense of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from midef.attacks.access import AccessLevel
from midef.attacks.target_handle import TargetHandle
from midef.core.position import steps
from midef.core.recipe import Inputs
from midef.core.seeds import derive_seed
from midef.nn.network import TargetModel
from midef.stages.build import BuildContext, ensure

if TYPE_CHECKING:
    from midef.stages.target import TargetSpec

SERVED_AT_ONCE = 256
"""Images that a target is asked about at once where its accuracy is measured. A defense that answers jointly fills its
windows with them, so this changes its answers; of all others only memory and speed."""


def handle_of(spec: TargetSpec, model: TargetModel, access: AccessLevel, context: BuildContext) -> TargetHandle:
    """A handle on a target, whose answers are the same for all who ask.

    Args:
        model: the network of the target, as `target.load` gives it.
    """
    seed = derive_seed("server", spec.seed)
    inputs = Inputs(spec.inputs, lambda needed: ensure(needed, context))
    return TargetHandle(
        model,
        spec.defense,
        access,
        device=context.device,
        seed=seed,
        artifacts=inputs.path,
        resolution_px=spec.resolution_px,
    )


def served_scores(handle: TargetHandle, images: Tensor, *, seed: int, at_once: int) -> Tensor:
    """Scores [N, K] that a target serves for images [N, 3, H, W] in [0, 1], on the CPU.

    Args:
        seed: of a head that samples when it answers.
        at_once: images in a call, on which answers depend where a defense answers jointly.
    """
    torch.manual_seed(seed)
    return torch.cat([handle.scores(part.to(handle.device)).cpu() for part in images.split(at_once)])


def served_labels(handle: TargetHandle, images: Tensor) -> Tensor:
    """Labels [N] that a target serves for images [N, 3, H, W] uint8 of its size, asked the same way by all who measure.

    So the accuracy in the facts of a target is that of its cells, also where answers depend on the others of a call.
    """
    asked = steps(images.split(SERVED_AT_ONCE))
    return torch.cat([handle.labels(part.to(handle.device).float() / 255).cpu() for part in asked])
