from __future__ import annotations

from dataclasses import fields
from math import cos, pi
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midef.core import SpecError
from midef.core.canonical import digest
from midef.training import TrainingRecipe
from midef.training.recipe import RECIPES


def test_constant_rate() -> None:
    recipe = TrainingRecipe(learning_rate=0.02)
    assert {recipe.rate_at(p) for p in (0.0, 0.3, 0.99)} == {0.02}


@pytest.mark.parametrize(("epoch", "rate"), [(0, 1e-3), (74.9, 1e-3), (75, 1e-4), (89.9, 1e-4), (90, 1e-5), (99, 1e-5)])
def test_steps_of_the_high_resolution_recipe(epoch: float, rate: float) -> None:
    recipe = TrainingRecipe(learning_rate=1e-3, schedule="multistep", milestones=(0.75, 0.9), gamma=0.1, epochs=100)
    assert recipe.rate_at(epoch / 100) == pytest.approx(rate)


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 0.99])
def test_cosine_from_the_formula(progress: float) -> None:
    recipe = TrainingRecipe(learning_rate=2.0, schedule="cosine")
    assert recipe.rate_at(progress) == pytest.approx(2.0 * (1 + cos(pi * progress)) / 2)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_climbs_to_the_full_rate(schedule: Any) -> None:
    recipe = TrainingRecipe(learning_rate=1.0, schedule=schedule, warmup=0.2)
    assert recipe.rate_at(0.0) == pytest.approx(0.05)
    assert recipe.rate_at(0.1) == pytest.approx(0.05 + 0.95 / 2)
    assert recipe.rate_at(0.2) == pytest.approx(1.0)
    if schedule == "cosine":
        assert recipe.rate_at(0.6) == pytest.approx(0.5) and recipe.rate_at(1.0) == pytest.approx(0.0)


@given(st.sampled_from(["constant", "multistep", "cosine"]), st.floats(0, 0.9), st.floats(0, 1, exclude_max=True))
def test_the_rate_is_never_negative_and_never_above_the_largest(schedule: Any, warmup: float, progress: float) -> None:
    recipe = TrainingRecipe(learning_rate=0.3, schedule=schedule, milestones=(0.5, 0.8), warmup=warmup)
    assert 0 <= recipe.rate_at(progress) <= 0.3 * (1 + 1e-12)


def test_equal_trainings_are_keyed_equally() -> None:
    first = TrainingRecipe.make({"learning_rate": 1, "betas": [0, 0.9], "milestones": [0.5], "schedule": "multistep"})
    second = TrainingRecipe(learning_rate=1.0, betas=(0.0, 0.9), milestones=(0.5,), schedule="multistep")
    assert first == second and digest(first) == digest(second)
    assert TrainingRecipe.make({}) == TrainingRecipe()


@pytest.mark.parametrize("field", [f.name for f in fields(TrainingRecipe)])
def test_every_field_is_in_the_key(field: str) -> None:
    other = {
        **{"optimizer": "adam", "betas": (0.5, 0.9), "schedule": "cosine", "milestones": (0.5,), "nesterov": True},
        **{
            "checkpoint": "best_select",
            "precision": "bfloat16",
            "compiled": True,
            "epochs": 3,
            "batch_size": 8,
            "jitter_px": 1,
        },
        **{"crop_scale": (0.5, 1.0), "color_jitter": (0.1, 0.0, 0.0, 0.0)},
    }.get(field, 0.25)
    assert digest(TrainingRecipe.make({field: other})) != digest(TrainingRecipe())


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        TrainingRecipe.make({"epoch": 3, "learning_rat": 1.0, "optimizer": "lion", "batch_size": "few"})
    assert len(caught.value.problems) == 4
    for part in (
        "training has no field 'epoch'; did you mean 'epochs'?",
        "training has no field 'learning_rat'; did you mean 'learning_rate'?",
        "training.optimizer: Input should be 'sgd', 'adam' or 'adamw'",
        "training.batch_size: ",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epochs": 0}, "needs epochs >= 1 and batch_size >= 2, got 0 and 64"),
        ({"learning_rate": 0}, "needs learning_rate > 0, got 0"),
        ({"milestones": [75]}, "fractions of training, between 0 and 1"),
        ({"flip": 1.5}, "needs flip in"),
        ({"clip_norm": -1.0}, "needs clip_norm >= 0 .* got -1.0"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"clip_norm": float("inf")}, "finite"),
    ],
    ids=["epochs", "rate", "milestones", "flip", "clip", "nan", "infinite"],
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        TrainingRecipe.make(params)


@pytest.mark.parametrize("name", RECIPES)
def test_published_recipes_are_valid_and_can_be_changed(name: str) -> None:
    recipe = TrainingRecipe.make({"preset": name})
    assert {key: getattr(recipe, key) for key in RECIPES[name]} == dict(RECIPES[name])
    assert TrainingRecipe.make({"preset": name, "epochs": 3}).epochs == 3


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="no preset 'facescrub-225'; did you mean 'facescrub-224'"):
        TrainingRecipe.make({"preset": "facescrub-225"})


@pytest.mark.parametrize(
    ("field", "value"),
    [("crop_scale", (0.5, 0.4)), ("crop_scale", (0.0, 1.0)), ("color_jitter", (0.0, 0.0, 0.0, 0.6))],
)
def test_refuses_augmentation_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=field):
        TrainingRecipe.make({field: value})
