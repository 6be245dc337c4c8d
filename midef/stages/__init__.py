"""The steps of one cell. Importing this package loads no torch."""

from midef.stages.build import BuildContext, build_recipe, ensure
from midef.stages.recipes import (
    REGRESSOR_IMAGES,
    CellRecipes,
    place_dataset,
    place_weights,
    published_recipe,
    recipes_for_cell,
)

__all__ = [
    "REGRESSOR_IMAGES",
    "BuildContext",
    "CellRecipes",
    "build_recipe",
    "ensure",
    "place_dataset",
    "place_weights",
    "published_recipe",
    "recipes_for_cell",
]
