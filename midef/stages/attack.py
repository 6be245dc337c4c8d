"""Stage: attack one target."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from midef.attacks import ATTACKS, AccessLevel
from midef.attacks.base import Task
from midef.attacks.latent_search.template import memory_share
from midef.attacks.target_handle import TargetHandle
from midef.core.choice import Choice
from midef.core.errors import DataError, MidefError
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.datasets import Images
from midef.stages.build import BuildContext
from midef.stages.split import load as load_splits
from midef.stages.target import defense_of
from midef.stages.target import load as load_target


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `images.npz`: 8-bit reconstructions with their labels, restarts and whether the attack found them."""
    target = recipe.inputs["target"]
    splits = load_splits(inputs.path("private"))
    n_classes = len(splits.class_names)
    identities, per_identity = recipe.params["identities"], recipe.params["images_per_identity"]
    if identities > n_classes:
        raise DataError(f"the protocol attacks {identities} identities, the private set has {n_classes}; lower it")
    seed = derive_seed("attack", recipe.params["seed"])
    attack = ATTACKS.remake(Choice.from_plain(recipe.params["attack"]))
    model = load_target(target, inputs.path("target"), context, n_classes)
    handle = TargetHandle(model, defense_of(target), attack.access, device=context.device, seed=seed)
    labels = torch.arange(identities).repeat_interleave(per_identity)
    restarts = torch.arange(per_identity).repeat(identities)
    observed = None
    if attack.needs_observed_scores:
        # What the attacker overheard. The victims asked, not the attacker: another handle, other queries.
        served = TargetHandle(model, defense_of(target), AccessLevel.SCORES, device=context.device, seed=seed + 1)
        seen = victims(splits.report, labels, restarts)
        observed = torch.cat([served.scores(part.to(context.device)).cpu() for part in seen.split(512)])
    task = Task(labels, restarts, resolution_of_target(target), seed, context.device, observed)
    torch.manual_seed(derive_seed("answers", seed))  # for a head that samples when it answers (MID)
    start = time.monotonic()
    before = memory_share.set(context.memory_share)
    try:
        found = attack.reconstruct(handle, inputs, task)
    finally:
        memory_share.reset(before)
    attack_s = time.monotonic() - start
    broken = int((~torch.isfinite(found.images).flatten(1).all(dim=1)).sum())
    if broken:
        raise MidefError(
            f"{recipe.component} diverged: {broken} of {len(found.images)} reconstructions hold values that are no "
            "numbers; lower its learning_rate",
            failure="diverged",
        )
    images = (found.images.clamp(0, 1) * 255).to(torch.uint8)  # truncated, as in the low2high step of the papers
    np.savez_compressed(
        folder / "images.npz",
        images=images.numpy(),
        labels=found.labels.numpy(),
        restarts=found.restarts.numpy(),
        found=found.found.numpy(),
    )
    beforehand = [needed.key for needed in recipe.walk() if needed.kind in ("prior", "surrogate", "inverter")]
    asked = sum(context.store.artifacts.meta(key)["facts"]["queries"] for key in beforehand)
    return {"queries": handle.queries + asked, "attack_s": attack_s, "found": int(found.found.sum())}


def resolution_of_target(target: Recipe) -> int:
    return int(target.inputs["private"].params["resolution_px"])


def victims(report: Images, labels: Tensor, restarts: Tensor) -> Tensor:
    """The restart-th image of each identity [N, 3, H, W] float, starting over where an identity has fewer."""
    rows = []
    for label, restart in zip(labels.tolist(), restarts.tolist(), strict=True):
        own = torch.nonzero(report.labels == label).squeeze(1)
        if not len(own):
            raise DataError(f"identity {label} has no image in the report split; raise report_fraction or min_images")
        rows.append(int(own[restart % len(own)]))
    return report.images[rows].float() / 255
