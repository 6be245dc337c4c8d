"""The steps of one cell. Importing this package loads no torch."""

from midef.stages.build import BuildContext, build_recipe, ensure
from midef.stages.cell_recipes import CellRecipes, SetupRecipes, recipes_for_cell
from midef.stages.judges import problems_as_target, problems_of_attack, weights_of_judge
from midef.stages.measuring import StudentPlan, extractor_lines, place_extractors
from midef.stages.recipes import (
    REGRESSOR_IMAGES,
    place_dataset,
    place_weights,
    published_recipe,
)

__all__ = [
    "REGRESSOR_IMAGES",
    "BuildContext",
    "CellRecipes",
    "SetupRecipes",
    "StudentPlan",
    "build_recipe",
    "ensure",
    "extractor_lines",
    "place_dataset",
    "place_extractors",
    "place_weights",
    "problems_as_target",
    "problems_of_attack",
    "published_recipe",
    "recipes_for_cell",
    "weights_of_judge",
]
