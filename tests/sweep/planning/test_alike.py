from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from midef.core import Recipe
from midef.sweep.planning.alike import Alike

VALUES = st.sampled_from([0, 1, 1.0, True, None, "1", [1], {"seed": 1}, {"seed": 2}])
PARAMS = st.dictionaries(st.sampled_from(["seed", "a"]), VALUES, max_size=2)
SMALL = st.builds(Recipe, st.sampled_from(["split", "target"]), st.sampled_from("xy"), PARAMS, st.just({}))
RECIPES = st.recursive(
    SMALL,
    lambda inner: st.builds(
        Recipe, st.just("scores"), st.just("x"), PARAMS, st.dictionaries(st.sampled_from("pq"), inner, max_size=2)
    ),
    max_leaves=4,
)


def without_seeds(recipe: Recipe) -> Recipe:
    """Reference: the recipe, and all that it needs, made anew without `seed`."""
    params = {name: value for name, value in recipe.params.items() if name != "seed"}
    inputs = {role: without_seeds(needed) for role, needed in recipe.inputs.items()}
    return Recipe(recipe.kind, recipe.component, params, inputs, recipe.version)


@given(st.lists(RECIPES, min_size=2, max_size=5))
def test_alike_is_what_has_one_key_without_seeds(recipes: list[Recipe]) -> None:
    alike = Alike()
    for one, other in combinations(recipes, 2):
        assert (alike.group(one) == alike.group(other)) == (without_seeds(one).key == without_seeds(other).key)


def test_seeds_of_what_is_needed_do_not_count_and_those_of_data_do() -> None:
    def attack(seed: int, of_data: int, **changed: Any) -> Recipe:
        split = Recipe("split", "faces", {"params": {"seed": of_data}})
        target = Recipe("target", "classifier", {"seed": seed}, {"private": split})
        return Recipe("reconstructions", "gmi", {"seed": seed, **changed}, {"target": target})

    alike = Alike()
    assert alike.group(attack(0, 5)) == alike.group(attack(1, 5))
    assert alike.group(attack(0, 5)) != alike.group(attack(0, 6))
    assert alike.group(attack(0, 5)) != alike.group(attack(0, 5, identities=3))
