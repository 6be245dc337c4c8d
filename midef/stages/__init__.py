"""The steps of one cell. Importing this package loads no torch."""

from midef.stages.build import BuildContext, build_recipe, ensure
from midef.stages.recipes import (
    REGRESSOR_IMAGES,
    CellRecipes,
    place_dataset,
    place_weights,
    problems_as_target,
    published_recipe,
    recipes_for_cell,
    weights_of_judge,
)

__all__ = [
    "REGRESSOR_IMAGES",
    "BuildContext",
    "CellRecipes",
    "build_recipe",
    "ensure",
    "place_dataset",
    "place_weights",
    "problems_as_target",
    "published_recipe",
    "recipes_for_cell",
    "weights_of_judge",
]
