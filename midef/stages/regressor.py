"""Stage: train the network that reads traits from images, and load it again."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from midef.core.choice import Choice
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.nn.weights import read_stored
from midef.stages.build import BuildContext
from midef.stages.drawn import formation_of
from midef.training.generative.loop import TrainingRun
from midef.training.trait_regressor import TraitRegressor, fit_trait_regressor, trait_weights

_WEIGHTS = "regressor.safetensors"


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `regressor.safetensors`. The fact `loss` is the error of the traits, 1 for guessing 0, on disturbed images.

    Raises:
        TrainingDiverged: if a loss or a weight is not finite.
    """
    params = recipe.params
    drawn, resolution_px = Choice.from_plain(params["drawn"]), int(params["resolution_px"])
    formation, weights = formation_of(drawn), torch.tensor(weights_of(drawn, resolution_px))
    run = TrainingRun(seed=derive_seed("trait regressor", params["seed"]), device=context.device, report=context.report)
    network, losses = fit_trait_regressor(
        formation, weights, resolution_px=resolution_px, images=int(params["images"]), run=run
    )
    save_file({name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}, folder / _WEIGHTS)
    return losses


@lru_cache(16)
def weights_of(drawn: Choice, resolution_px: int) -> np.ndarray:
    """Weights of the traits [n_traits], read only: a second of rendering at 32 px, once in a process."""
    weights = trait_weights(formation_of(drawn), resolution_px)
    weights.setflags(write=False)
    return weights


def load(recipe: Recipe, folder: Path, device: str) -> TraitRegressor:
    """The trained network in eval mode on a device."""
    formation = formation_of(Choice.from_plain(recipe.params["drawn"]))
    network = TraitRegressor(formation.n_traits, int(recipe.params["resolution_px"]))
    network.load_state_dict(read_stored(folder / _WEIGHTS))
    return network.to(device).eval()
