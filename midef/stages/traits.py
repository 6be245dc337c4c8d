"""Traits that draw the private faces, those of reconstructions, and how much each moves the image."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from midef.core.lazy import torch
from midef.core.recipe import Recipe
from midef.core.seeds import derive_seed
from midef.datasets import DATASETS, Dataset, ImageFormation

WEIGHED = 64
"""Random images that a trait's weight is measured on: it then varies by about 3 % with other images."""
_STEP = 0.1
"""Half the difference of a trait that its slope is measured over, in standard deviations of the population."""


@lru_cache(64)
def drawn_dataset(split: Recipe) -> Dataset | None:
    """The data set of a split, where its images are drawn from traits of its identities; None for any other."""
    cls = DATASETS.get(split.component)
    if cls.formation is Dataset.formation or cls.identity_latents is Dataset.identity_latents:
        return None
    dataset = DATASETS.make(split.component, split.params["params"])
    return None if dataset.formation() is None or dataset.identity_latents() is None else dataset


def trait_weights(formation: ImageFormation, resolution_px: int) -> np.ndarray:
    """How much each identity trait moves the image [n_traits]: root mean square over pixels, channels and random images
    of the population of the change per standard deviation of the trait, by central differences, without pixel noise.

    The same on every machine up to roundings: the images follow from a fixed seed.
    """
    rng = torch.Generator().manual_seed(derive_seed("trait weights"))
    latents = torch.randn(WEIGHED, formation.latent_dim, generator=rng)
    squares = []
    with torch.no_grad():
        for trait in range(formation.n_traits):
            step = torch.zeros(formation.latent_dim)
            step[trait] = _STEP
            above, below = (formation.images(latents + sign * step, resolution_px) for sign in (1, -1))
            squares.append(((above - below) / (2 * _STEP)).double().square().mean())
    weights: np.ndarray = torch.stack(squares).sqrt().numpy()
    return weights


@lru_cache(16)
def _weights(split: Recipe) -> np.ndarray:
    """Weights at the resolution of a split: a second of rendering at 32 px, once in a process."""
    dataset = drawn_dataset(split)
    formation = None if dataset is None else dataset.formation()
    assert formation is not None, "asked of a data set that is drawn"
    return trait_weights(formation, split.params["resolution_px"])


def trait_evidence(private: Recipe, made: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    """The fields of `Evidence` about traits; none where the private data is not drawn from traits.

    What they hold is written to `traits.npz`.

    Args:
        private: recipe of the private split.
        made: arrays of the reconstructions.
        folder: of the scores.
    """
    dataset = drawn_dataset(private)
    if dataset is None:
        return {}
    known = {
        "identity_traits": dataset.identity_latents(),
        "trait_weights": _weights(private),
        **({"traits": made["traits"]} if "traits" in made else {}),
    }
    np.savez_compressed(folder / "traits.npz", **known)  # type: ignore[arg-type]
    return known
