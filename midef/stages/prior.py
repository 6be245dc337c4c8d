"""Stage: train what an attacker prepares on public data: generators, students, inversion networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from midef.attacks import PRIORS
from midef.attacks.target_handle import TargetHandle
from midef.core.choice import Choice
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.stages.build import BuildContext
from midef.stages.split import load as load_splits
from midef.stages.target import defense_of
from midef.stages.target import load as load_target


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `<network>.safetensors` for each network of the prior."""
    prior = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
    public = load_splits(inputs.path("public"))
    handle, n_classes = None, 0
    if prior.asks is not None:
        target = recipe.inputs["target"]
        folder_of_target = inputs.path("target")
        n_classes = int(context.store.artifacts.meta(target.key)["facts"]["classes"])
        model = load_target(target, folder_of_target, context, n_classes)
        seed = derive_seed("inverter", recipe.key.digest)
        handle = TargetHandle(model, defense_of(target), prior.asks, device=context.device, seed=seed)
    torch.manual_seed(derive_seed("prior weights", recipe.params["params"]["seed"]))
    networks = prior.networks(int(recipe.inputs["public"].params["resolution_px"]), n_classes)
    facts = prior.fit(networks, public, handle, inputs=inputs, device=context.device, report=context.report)
    for name, network in networks.items():
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, folder / f"{name}.safetensors"
        )
    return {**facts, "queries": handle.queries if handle is not None else 0}
