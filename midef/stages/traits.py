"""Traits of private identities and of reconstructions, as the scores compare them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from midef.core.recipe import Inputs, Recipe
from midef.stages.drawn import drawn_as, drawn_dataset
from midef.stages.regressor import load as load_regressor
from midef.stages.regressor import weights_of
from midef.stages.resize import low_to_high
from midef.training.trait_regressor import read_traits


def trait_evidence(
    recipe: Recipe,
    inputs: Inputs,
    folder: Path,
    *,
    made: Mapping[str, np.ndarray],
    report_images: Tensor,
    device: str,
) -> dict[str, Any]:
    """The fields of `Evidence` about traits; none where the private data is not drawn from traits.

    What they hold is written to `traits.npz`. A regressor is planned where the attack does not know the traits: it
    reads them from the images, and those of the report split too, which show how well it reads.

    Args:
        recipe: of the scores.
        inputs: of the scores.
        folder: of the scores.
        made: arrays of the reconstructions.
        report_images: of the private report split [M, 3, R, R] uint8.
    """
    private = recipe.inputs["private"]
    dataset, drawn = drawn_dataset(private), drawn_as(private)
    if dataset is None or drawn is None:
        return {}
    weights = weights_of(drawn, int(private.params["resolution_px"]))
    known = {"identity_traits": dataset.identity_latents(), "trait_weights": weights}
    if "regressor" in inputs:  # then what the attack stored, if anything, is not about these identities
        regressor = load_regressor(recipe.inputs["regressor"], inputs.path("regressor"), device)
        images = low_to_high(torch.from_numpy(made["images"]), report_images.shape[-1])
        known["traits"] = read_traits(regressor, images, device).numpy()
        known["report_traits"] = read_traits(regressor, report_images, device).numpy()
    elif "traits" in made:
        known["traits"] = made["traits"]
    np.savez_compressed(folder / "traits.npz", **known)  # type: ignore[arg-type]
    return known
