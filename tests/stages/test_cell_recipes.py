"""What cells share is named once, and by the same keys as if each cell had been named alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.attacks import ATTACKS
from midef.core import Choice, Protocol, Recipe, Setup
from midef.core.recipe import each_once
from midef.datasets import DATASETS
from midef.defenses.stack import choose_defense
from midef.metrics import METRICS
from midef.models import ARCHITECTURES
from midef.stages import CellRecipes, SetupRecipes
from midef.training import TrainingRecipe

DEFENSES = ("none", "midre", "loft", "tts", "lpa", "midre+nls", "mid(weight=0.003)")
ARGUMENTS: dict[str, Any] = {"training": TrainingRecipe(epochs=1), "evaluator_training": TrainingRecipe(epochs=2)}


def setup_of(attack: str, label: str = "any") -> Setup:
    return Setup(
        id=label,
        attack=ATTACKS.choose(attack),
        architecture=ARCHITECTURES.choose("vgg16_tiny"),
        private=DATASETS.choose("synthetic_faces(identities=8)"),
        public=DATASETS.choose("synthetic_faces(identities=9, population=public)"),
        evaluator=ARCHITECTURES.choose("resnet18_tiny"),
        resolution_px=32,
        protocol=Protocol(evaluator_resolution_px=40),
    )


def keys(cell: CellRecipes) -> dict[str, str]:
    return {f.name: str(getattr(cell, f.name).key) for f in fields(cell)}


def has_seed(recipe: Recipe, seed: int) -> bool:
    """Whether a seed decides it, its own or that of what it needs."""
    return any(one.params.get("seed") == seed for one in recipe.walk())


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(ATTACKS.names()),
    st.sampled_from(DEFENSES),
    st.lists(st.integers(1, 2**31), min_size=2, max_size=2, unique=True),
)
def test_cells_of_different_seeds_share_what_no_seed_decides(attack: str, defense: str, seeds: list[int]) -> None:
    shared = SetupRecipes(setup_of(attack), **ARGUMENTS)
    first, second = (shared.of(choose_defense(defense), seed) for seed in seeds)
    of_first, of_second = (
        {one.key for one in cell.scores.walk() if not has_seed(one, seed)}
        for cell, seed in zip((first, second), seeds, strict=True)
    )
    assert of_first == of_second and {first.private.key, first.evaluator.key} <= of_first
    for role in ("private", "public", "evaluator"):
        assert getattr(first, role) is getattr(second, role), "named, and hashed, once"
    for role in ("target", "reconstructions", "scores"):
        assert getattr(first, role).key != getattr(second, role).key


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(DEFENSES), st.integers(0, 3)), min_size=1, max_size=5))
@pytest.mark.parametrize("attack", ATTACKS.names())
def test_the_cells_before_it_change_no_key_of_a_cell(attack: str, cells: list[tuple[str, int]]) -> None:
    """Reference: each cell alone, as plain data read back, so that no part of a text was remembered."""
    shared = SetupRecipes(setup_of(attack), **ARGUMENTS, metrics=tuple(METRICS.names()))
    for defense, seed in cells:
        found = shared.of(choose_defense(defense), seed)
        alone = SetupRecipes(setup_of(attack), **ARGUMENTS, metrics=tuple(METRICS.names())).of(
            choose_defense(defense), seed
        )
        assert keys(found) == keys(alone)
        assert Recipe.from_plain(found.scores.as_plain()).key == found.scores.key
        assert found.target.params["seed"] == found.reconstructions.params["seed"] == seed


def test_setups_that_attack_one_network_share_its_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = Counter[str]()
    named = Recipe.key.func  # type: ignore[attr-defined]

    def counted(recipe: Recipe) -> Any:
        found = named(recipe)
        hashed[str(found)] += 1
        return found

    monkeypatch.setattr(Recipe.key, "func", counted)
    attacks, seeds = ("gmi", "kedmi", "brep_mi"), (70, 71, 72)
    cells = [
        SetupRecipes(setup_of(attack, attack), **ARGUMENTS).of(defense, seed)
        for attack in attacks
        for defense in (Choice("none"), choose_defense("midre"))
        for seed in seeds
    ]
    needed = {str(one.key) for one in each_once(cell.scores for cell in cells)}
    of_targets = {key: count for key, count in hashed.items() if key.startswith("target/") and key in needed}
    assert len(of_targets) == 2 * len(seeds) and set(of_targets.values()) == {1}
