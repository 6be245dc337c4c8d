"""Traits of reconstructions in the scores: those an attack knows are judged exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from midef.attacks import ATTACKS
from midef.core import Inputs, Recipe
from midef.datasets import DATASETS
from midef.stages import CellRecipes, ensure
from midef.stages.drawn import drawn_dataset
from midef.stages.scores import build


def test_only_data_that_is_drawn_from_traits_has_them(tmp_path: Path) -> None:
    folder = Recipe("split", "image_folder", {"params": {"fingerprint": "a1"}, "resolution_px": 32})
    assert drawn_dataset(folder) is None, "asked without its files"
    faces = Recipe("split", "synthetic_faces", {"params": {"identities": 3}, "resolution_px": 32})
    assert drawn_dataset(faces) == DATASETS.make("synthetic_faces", {"identities": 3})


def rescored(cell: Any, tmp_path: Path, *, regressor: bool = False, **arrays: np.ndarray) -> dict[str, dict[str, Any]]:
    """Measurements of the cell, had its attack stored other arrays, with or without its regressor."""
    scores = cell.recipes.scores
    if not regressor:
        scores = replace(scores, inputs={role: r for role, r in scores.inputs.items() if role != "regressor"})
    inputs = Inputs(scores.inputs, lambda needed: cell.context.store.artifacts.fetch(needed.key))
    stored = dict(np.load(inputs.path("reconstructions") / "images.npz", allow_pickle=False))
    changed = tmp_path / "reconstructions"
    changed.mkdir()
    np.savez_compressed(changed / "images.npz", **{**stored, **arrays})
    elsewhere = {scores.inputs["reconstructions"].key: changed}
    inputs = Inputs(
        scores.inputs, lambda needed: elsewhere.get(needed.key) or cell.context.store.artifacts.fetch(needed.key)
    )
    folder = tmp_path / "scores"
    folder.mkdir()
    build(scores, inputs, cell.context, folder)
    return {entry["metric"]: entry for entry in json.loads((folder / "measurements.json").read_text())}


def test_traits_that_the_attack_knows_are_judged_exactly(cell: Any, tmp_path: Path) -> None:
    people = DATASETS.make("synthetic_faces", {"identities": 8}).identity_latents()
    assert people is not None
    with np.load(cell.folder("reconstructions") / "images.npz", allow_pickle=False) as stored:
        labels, restarts = stored["labels"], stored["restarts"]
    found = people[np.where(restarts == 1, (labels + 1) % 8, labels)]
    measured = rescored(cell, tmp_path, traits=found)["trait_accuracy"]
    assert measured["value"] == pytest.approx(100 * 2 / 3), "one of three restarts shows somebody else"
    assert (measured["ceiling"], measured["is_estimate"], measured["n"]) == (100.0, False, 18)
    with np.load(tmp_path / "scores" / "traits.npz", allow_pickle=False) as kept:
        assert np.array_equal(kept["identity_traits"], people) and np.array_equal(kept["traits"], found)
        assert kept["trait_weights"].shape == (people.shape[1],) and (kept["trait_weights"] > 0).all()


def test_where_a_regressor_is_planned_it_reads_whatever_else_is_stored(cell: Any, tmp_path: Path) -> None:
    """What the attack stored may be traits of another kind of data."""
    people = DATASETS.make("synthetic_faces", {"identities": 8}).identity_latents()
    assert people is not None
    labels = np.arange(6).repeat(3)
    measured = rescored(cell, tmp_path, regressor=True, traits=people[labels])["trait_accuracy"]
    before = {e["metric"]: e for e in json.loads((cell.folder("scores") / "measurements.json").read_text())}
    assert measured["is_estimate"] and measured["value"] == before["trait_accuracy"]["value"]


def test_what_the_attack_does_not_know_is_read_from_the_images(cell: Any) -> None:
    """By a network whose ceiling is measured on the private report split, and which is kept with what it read."""
    measured = {e["metric"]: e for e in json.loads((cell.folder("scores") / "measurements.json").read_text())}
    traits = measured["trait_accuracy"]
    assert traits["is_estimate"] is True and 0 <= traits["ceiling"] <= 100 and traits["chance"] == 12.5
    with np.load(cell.folder("scores") / "traits.npz", allow_pickle=False) as kept:
        assert {name: kept[name].shape for name in kept} == {
            "identity_traits": (8, 24),
            "trait_weights": (24,),
            "traits": (18, 24),
            "report_traits": (16, 24),
        }


def test_an_attack_that_promised_traits_and_gave_none_fails_the_metric(cell: Any, tmp_path: Path) -> None:
    """Refused, it would be shown nowhere, as where the metric does not apply."""
    measured = rescored(cell, tmp_path)
    assert measured["trait_accuracy"]["status"] == "failed" and measured["attack_accuracy_at_1"]["status"] == "ok"
    assert "the attack knows the traits of its images and gave none" in measured["trait_accuracy"]["reason"]


def test_an_attack_through_the_renderer_is_judged_exactly_and_trains_no_regressor(
    own_cell: Any, plan: Callable[..., CellRecipes]
) -> None:
    attack = {"name": "pool_search", "prior": "renderer", "pool": 8, "iterations": 1}
    recipes = plan(attack=ATTACKS.choose(attack))
    folder = ensure(recipes.scores, own_cell.context)
    measured = {e["metric"]: e for e in json.loads((folder / "measurements.json").read_text())}
    traits = measured["trait_accuracy"]
    assert (traits["ceiling"], traits["is_estimate"], traits["n"]) == (100.0, False, 18)
    with np.load(folder / "traits.npz", allow_pickle=False) as kept:
        assert "report_traits" not in kept and kept["traits"].shape == (18, 24)
    kinds = {recipe.kind for recipe in recipes.scores.walk()}
    assert kinds == {"split", "target", "evaluator", "prior", "reconstructions", "scores"}
