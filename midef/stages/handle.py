"""A stored target as those who ask it see it: behind its access level, and behind the defense of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.attacks.access import AccessLevel
from midef.attacks.target_handle import TargetHandle
from midef.core.recipe import Inputs
from midef.core.seeds import derive_seed
from midef.nn.network import TargetModel
from midef.stages.build import BuildContext, ensure

if TYPE_CHECKING:
    from midef.stages.target import TargetSpec


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
