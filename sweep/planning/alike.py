"""Groups of recipes that differ in nothing but their seeds: nodes of equal work, which is looked at once for all."""

from __future__ import annotations

from typing import Any

from midef.core.canonical import json_of_plain
from midef.core.recipe import Recipe

SEED = "seed"


class Alike:
    """Numbers groups of recipes that are equal but for the parameter `seed`, their own and that of what they need.

    A seed within another parameter counts: it says which images a data set has.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], int] = {}
        self._known: dict[str, int] = {}

    def group(self, recipe: Recipe) -> int:
        """Number of the group of a recipe, the same for all in it."""
        known = self._known.get(recipe.name)
        if known is None:
            params = [(name, json_of_plain(value)) for name, value in recipe.params.items() if name != SEED]
            inputs = [(role, self.group(recipe.inputs[role])) for role in sorted(recipe.inputs)]
            same = (recipe.kind, recipe.component, recipe.version, *params, *inputs)
            known = self._known[recipe.name] = self._groups.setdefault(same, len(self._groups))
        return known
