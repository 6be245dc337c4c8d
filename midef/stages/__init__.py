"""The steps of one cell. Importing this package loads no torch."""

from midef.stages.build import BuildContext, build_recipe, ensure
from midef.stages.recipes import CellRecipes, place_dataset, place_weights, published_recipe, recipes_for_cell

__all__ = [
    "BuildContext",
    "CellRecipes",
    "build_recipe",
    "ensure",
    "place_dataset",
    "place_weights",
    "published_recipe",
    "recipes_for_cell",
]
