"""The steps of one cell. Importing this package loads no torch."""

from midef.stages._base import BuildContext, build_recipe, ensure
from midef.stages._cell import CellRecipes, place_dataset, place_weights, published_recipe, recipes_for_cell

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
