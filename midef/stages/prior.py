"""Stage: train a prior on public data, or take a published one: generators, students, inversion networks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from midef.attacks import PRIORS, AccessLevel, Prior
from midef.attacks.priors.base import FitContext, PublicPrior, TargetedPrior
from midef.attacks.target_handle import TargetHandle
from midef.core.choice import Choice
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.stages.build import BuildContext
from midef.stages.handle import handle_of
from midef.stages.split import load as load_splits
from midef.stages.split import made_from
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target
from midef.training.finite import check_losses, check_weights


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write the networks of the prior: `<network>.safetensors`, unless it stores them in another way.

    Raises:
        TrainingDiverged: if a fact, a weight or a buffer is not finite.
    """
    prior = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
    if (given := prior.given(recipe, folder)) is not None:
        return {**given, "queries": 0}
    public = load_splits(inputs.path("public"))
    data_set = partial(made_from, recipe.inputs["public"], context.locations)
    fit_context = FitContext(inputs=inputs, public=data_set, device=context.device, report=context.report)
    if isinstance(prior, TargetedPrior):
        handle = _handle(recipe, inputs, context, prior.asks)
        networks = _fresh_networks(prior, recipe, handle.n_classes)
        facts = {**prior.fit(networks, public, handle, fit_context), "queries": handle.queries}
    else:
        assert isinstance(prior, PublicPrior), f"{recipe.component} is neither a PublicPrior nor a TargetedPrior"
        networks = _fresh_networks(prior, recipe, 0)
        facts = {**prior.fit(networks, public, fit_context), "queries": 0}
    check_losses({name: fact for name, fact in facts.items() if isinstance(fact, float)}, "the last step")
    tensors = {name: network.state_dict() for name, network in networks.items()}
    check_weights({f"{name}.{k}": v for name, state in tensors.items() for k, v in state.items()})
    prior.store(networks, folder)
    return facts


def _handle(recipe: Recipe, inputs: Inputs, context: BuildContext, access: AccessLevel) -> TargetHandle:
    """The target of this prior, with the access it needs."""
    target = recipe.inputs["target"]
    folder = inputs.path("target")
    n_classes = int(context.store.artifacts.meta(target.key)["facts"]["classes"])
    spec = TargetSpec.of(target)
    model = load_target(spec, folder, context, n_classes)
    return handle_of(spec, model, access, context)


def _fresh_networks(prior: Prior, recipe: Recipe, n_classes: int) -> dict[str, nn.Module]:
    """The networks of the prior, with weights drawn from its seed."""
    torch.manual_seed(derive_seed("prior weights", recipe.params["params"].get("seed", 0)))
    return prior.networks(int(recipe.inputs["public"].params["resolution_px"]), n_classes)
