from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midef.core import ArtifactKey, Inputs, Recipe
from midef.core.recipe import KINDS, each_once

SPLIT = Recipe("split", "faces", {"identities": 10})
TARGET = Recipe("target", "classifier", {"seed": 0, "training": {"lr": 0.1, "steps": [1, 2]}}, {"private": SPLIT}, 2)

PARAMS = st.dictionaries(
    st.text(max_size=5), st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=4
)
SMALL = st.builds(Recipe, st.sampled_from(KINDS), st.text(max_size=5), PARAMS, st.just({}), st.integers(1, 3))
RECIPES = st.recursive(
    SMALL,
    lambda inner: st.builds(
        Recipe,
        st.sampled_from(KINDS),
        st.text(max_size=5),
        PARAMS,
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=6,
)


@given(RECIPES)
def test_reads_back_from_plain(recipe: Recipe) -> None:
    again = Recipe.from_plain(recipe.as_plain())
    assert again == recipe and again.key == recipe.key and hash(again) == hash(recipe)


@given(RECIPES)
def test_walk_gives_inputs_first_and_each_once(recipe: Recipe) -> None:
    walked = list(recipe.walk())
    assert walked[-1] == recipe
    position = {found.key: i for i, found in enumerate(walked)}
    assert len(position) == len(walked)
    for found in walked:
        assert all(position[needed.key] < position[found.key] for needed in found.inputs.values())


def test_walk_visits_a_shared_input_once() -> None:
    other = Recipe("prior", "gan", {}, {"public": SPLIT})
    attack = Recipe("reconstructions", "gmi", {}, {"target": TARGET, "prior": other})
    assert [r.component for r in attack.walk()] == ["faces", "gan", "classifier", "gmi"]


OTHERS: dict[str, dict[str, Any]] = {
    "kind": {"kind": "evaluator"},
    "component": {"component": "classifiers"},
    "a parameter": {"params": {"seed": 1, "training": {"lr": 0.1, "steps": [1, 2]}}},
    "an inner parameter": {"params": {"seed": 0, "training": {"lr": 0.1, "steps": [2, 1]}}},
    "one parameter more": {"params": {**TARGET.params, "more": None}},
    "one parameter less": {"params": {"seed": 0}},
    "an input": {"inputs": {"private": Recipe("split", "faces", {"identities": 11})}},
    "a role": {"inputs": {"public": SPLIT}},
    "one input more": {"inputs": {"private": SPLIT, "helper": SPLIT}},
    "version": {"version": 3},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_any_change_gives_another_key(change: dict[str, Any]) -> None:
    same = {name: getattr(TARGET, name) for name in ("kind", "component", "params", "inputs", "version")}
    assert Recipe(**same).key == TARGET.key
    assert Recipe(**{**same, **change}).key != TARGET.key


def test_a_change_deep_below_reaches_the_key() -> None:
    def scores(identities: int) -> Recipe:
        split = Recipe("split", "faces", {"identities": identities})
        return Recipe("scores", "metrics", {}, {"target": Recipe("target", "classifier", {}, {"private": split})})

    assert scores(10).key != scores(11).key
    assert scores(10).key == scores(10).key


def test_order_of_parameters_and_inputs_is_irrelevant() -> None:
    first = Recipe("scores", "m", {"a": 1, "b": {"c": 2, "d": 3}}, {"x": SPLIT, "y": TARGET})
    second = Recipe("scores", "m", {"b": {"d": 3, "c": 2}, "a": 1}, {"y": TARGET, "x": SPLIT})
    assert first.key == second.key and first == second


def test_the_key_names_the_kind_and_reads_back() -> None:
    assert TARGET.key.kind == "target" and len(TARGET.key.digest) == 64
    assert ArtifactKey.parse(str(TARGET.key)) == TARGET.key
    assert str(TARGET.key).startswith(TARGET.key.short)


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda v: st.lists(v, max_size=3) | st.tuples(v, v) | st.dictionaries(st.text(max_size=3), v, max_size=3),
    max_leaves=6,
)


def slow_key(recipe: Recipe) -> str:
    """By the definition: sha256 of JSON with sorted keys and no spaces, each input by its own key, nothing shared."""

    def without_minus_zero(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without_minus_zero(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [without_minus_zero(inner) for inner in value]
        return value + 0.0 if isinstance(value, float) else value

    content = {
        "kind": recipe.kind,
        "component": recipe.component,
        "params": without_minus_zero(dict(recipe.params)),
        "inputs": {role: slow_key(needed) for role, needed in recipe.inputs.items()},
        "version": recipe.version,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return f"{recipe.kind}/{hashlib.sha256(text.encode()).hexdigest()}"


@given(
    st.dictionaries(st.text(max_size=4), NESTED, max_size=3), st.text(max_size=4), st.integers() | st.text(), RECIPES
)
def test_keys_are_those_of_the_slow_definition(
    params: dict[str, Any], component: str, version: int | str, needed: Recipe
) -> None:
    first = Recipe("target", component, params, {"private": needed, "é": SPLIT}, version)
    for recipe in (needed, first, Recipe("scores", component, params, {"target": first, "private": needed}, version)):
        assert recipe.name == str(recipe.key) == slow_key(recipe)


@given(RECIPES)
def test_names_are_the_keys_of_the_walk(recipe: Recipe) -> None:
    above = Recipe(
        "scores", "metrics", {}, {"one": recipe, "other": TARGET, "both": Recipe("pool", "p", {}, {"a": recipe})}
    )
    for found in (recipe, above):
        assert list(found.names) == [str(one.key) for one in found.walk()]


def test_keys_are_fixed_for_ever() -> None:
    """Digests of the code that encoded each recipe as a whole, before parts of texts were shared."""
    nested = {"z": {"y": 1e-7, "x": 3}, "a": {}}
    params = {"zero": -0.0, "none": None, "on": True, "lists": ({"b": 1, "a": [2.5, 'é"\\\n']},), "nested": nested}
    deep = Recipe("reconstructions", "gmi", params, {"target": TARGET, "private": SPLIT})
    assert [recipe.key.digest for recipe in (SPLIT, TARGET, deep)] == [
        "419e9d84381f1ebf35c6598604d8d87b932fd802f8eaa37fc8d3da6669288d54",
        "dc0439b96e9b159ac4bdd01fca10744c4eeafdb888d773b7e4952d42b43f8d19",
        "158abf1971460d10e481b39ccd7bfd0b237f6903cafb1860b65516666488f3b6",
    ]


@given(st.lists(RECIPES, max_size=4))
def test_recipes_together_are_walked_as_one_by_one(recipes: list[Recipe]) -> None:
    assert list(each_once(recipes)) == list(dict.fromkeys(found for recipe in recipes for found in recipe.walk()))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown recipe kind 'targets'; expected one of split, target"):
        Recipe("targets", "classifier")


def test_changing_what_was_given_does_not_change_the_recipe() -> None:
    params, inputs = {"training": {"lr": 0.1}}, {"private": SPLIT}
    recipe = Recipe("target", "classifier", params, inputs)
    key = recipe.key
    params["training"]["lr"] = 0.2
    inputs.clear()
    assert Recipe.from_plain(recipe.as_plain()).key == key


def test_inputs_are_fetched_when_first_asked_for(tmp_path: Path) -> None:
    fetched: list[Recipe] = []

    def fetch(recipe: Recipe) -> Path:
        fetched.append(recipe)
        return tmp_path / recipe.component

    inputs = Inputs({"private": SPLIT, "target": TARGET}, fetch)
    assert "private" in inputs and "public" not in inputs and fetched == []
    assert [inputs.path("private") for _ in range(3)] == [tmp_path / "faces"] * 3
    assert fetched == [SPLIT]
    with pytest.raises(KeyError, match="public"):
        inputs.path("public")
