"""Splits, networks and handles of a stored sweep. Nothing is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Recipe
    from midef.datasets import Splits
    from midef.nn.network import TargetModel
    from midef.storage import Store


def splits_of(recipe: Recipe, store: Store) -> Splits:
    """The three splits of a data set."""
    from midef.stages.split import load

    return load(store.artifacts.fetch(recipe.key))


def target_of(recipe: Recipe, store: Store, classes: int) -> TargetModel:
    """The trained network of a target, in eval mode."""
    from midef.stages import BuildContext
    from midef.stages.target import TargetSpec, load

    return load(TargetSpec.of(recipe), store.artifacts.fetch(recipe.key), BuildContext(store=store), classes)


def features_of(model: TargetModel, images: Tensor) -> Tensor:
    """Penultimate features [N, D] of images [N, 3, H, W] uint8, without gradients."""
    with torch.no_grad():
        return torch.cat([model(part.float() / 255).features for part in images.split(256)])
