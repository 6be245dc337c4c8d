"""Served and undefended scores of a cell: of which images, from which network, and what is trained for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from midef.attacks.access import AccessLevel
from midef.core import Recipe
from midef.defenses.stack import choose_defense
from midef.models import ARCHITECTURES
from midef.stages import CellRecipes, ensure
from midef.stages.attack import OBSERVED, victims
from midef.stages.handle import handle_of
from midef.stages.recipes import TRAINED, UNDEFENDED
from midef.stages.split import load as load_splits
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target

PlanCell = Callable[..., CellRecipes]
NAME = "confidence_distortion"
SMALL = "inverter_width=4, inverter_epochs=1, rounds=1"
LPA = f"lpa({SMALL}, radius=0.05)"


def planned(plan: PlanCell, defense: str, attack: str = "inversion_model", metrics: tuple[str, ...] = (NAME,)) -> Any:
    return plan(attack, defense=choose_defense(defense), measured={"metrics": metrics})


def built(recipes: CellRecipes, context: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The measurement, and the arrays of each image."""
    folder = ensure(recipes.scores, context)
    (entry,) = (e for e in json.loads((folder / "measurements.json").read_text()) if e["metric"] == NAME)
    with np.load(folder / "per_image.npz", allow_pickle=False) as stored:
        return entry, dict(stored)


def network_scores(recipe: Recipe, images: torch.Tensor, context: Any) -> np.ndarray:
    """Softmax of a stored network, written out."""
    model = ARCHITECTURES.make("vgg16_tiny").build(8, 32)
    model.load_state_dict(load_file(ensure(recipe, context) / "model.safetensors"))
    with torch.no_grad():
        scores: np.ndarray = torch.softmax(model.eval()(images).logits, dim=1).numpy()
    return scores


def observed_images(recipes: CellRecipes, context: Any) -> torch.Tensor:
    with np.load(ensure(recipes.reconstructions, context) / "images.npz", allow_pickle=False) as made:
        labels, restarts = (torch.from_numpy(made[name].astype(np.int64)) for name in ("labels", "restarts"))
    return victims(load_splits(ensure(recipes.private, context)), "report", labels, restarts)


def test_only_cells_that_measure_it_have_other_keys_and_the_undefended_target(plan: PlanCell) -> None:
    undefended = plan("inversion_model").target
    for defense in ("none", "rounding", LPA, f"rounding+{LPA}"):
        assert UNDEFENDED not in planned(plan, defense).scores.inputs, f"{defense} answers for the undefended network"
    for defense in ("mid", "midre", f"midre+{LPA}"):
        assert planned(plan, defense).scores.inputs[UNDEFENDED] == undefended
        assert UNDEFENDED not in planned(plan, defense, metrics=("psnr",)).scores.inputs
        assert UNDEFENDED not in planned(plan, defense, attack="brep_mi").scores.inputs, "labels: refused"
    assert planned(plan, LPA).target.inputs[TRAINED] == undefended


def test_the_observed_answers_are_within_the_budget_and_those_of_the_network(own_cell: Any, plan: PlanCell) -> None:
    recipes, context = planned(plan, LPA), own_cell.context
    entry, stored = built(recipes, context)
    seen = observed_images(recipes, context)
    plain = network_scores(plan("inversion_model").target, seen, context)
    np.testing.assert_allclose(stored["undefended_scores"], plain, atol=1e-6)
    observed = np.load(ensure(recipes.reconstructions, context) / OBSERVED)["scores"]
    assert np.array_equal(stored["served_scores"], observed)
    distances = np.sqrt(((observed.astype(float) - plain) ** 2).sum(axis=1))
    assert 0 < distances.max() <= 0.05 + 1e-6
    assert entry["status"] == "ok" and entry["n"] == 18 and "attacker observed" in entry["remark"]
    assert entry["value"] == pytest.approx(distances.mean(), rel=1e-4)
    assert stored["distortions"] == pytest.approx(distances, abs=1e-6)


def test_answers_that_an_older_attack_did_not_store_are_asked_for_again_by_the_same_calls(
    own_cell: Any, plan: PlanCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of LFP depend on what else is in a call."""
    context = own_cell.context
    recipes = planned(plan, f"lfp({SMALL}, share=0.5, window=4)")
    observed = np.load(ensure(recipes.reconstructions, context) / OBSERVED)["scores"]
    monkeypatch.setattr("midef.stages.answers.OBSERVED", "not there")
    _, found = built(recipes, context)
    assert np.array_equal(found["served_scores"], observed)
    flipped = found["served_scores"].argmax(axis=1) != found["undefended_scores"].argmax(axis=1)
    assert 0 < flipped.sum() < len(flipped)


def test_none_is_exactly_0_and_a_retrained_target_is_compared_with_the_undefended_one(
    own_cell: Any, plan: PlanCell
) -> None:
    context = own_cell.context
    entry, stored = built(planned(plan, "none"), context)
    assert entry["value"] == 0.0 and not stored["distortions"].any()
    recipes = planned(plan, "nls")
    entry, stored = built(recipes, context)
    seen = observed_images(recipes, context)
    own, plain = (network_scores(r, seen, context) for r in (recipes.target, plan("inversion_model").target))
    expected = np.sqrt(((own.astype(float) - plain) ** 2).sum(axis=1)).mean()
    assert entry["value"] == pytest.approx(expected, rel=1e-4) and expected > 0


def test_an_attack_that_observes_nothing_is_measured_on_the_report_split_and_one_by_labels_not(
    own_cell: Any, plan: PlanCell
) -> None:
    context = own_cell.context
    recipes = planned(plan, "rounding(decimals=1)", attack="gmi")
    entry, stored = built(recipes, context)
    report = load_splits(ensure(recipes.private, context)).report
    spec = TargetSpec.of(recipes.target)
    model = load_target(spec, ensure(recipes.target, context), context, 8)
    served = handle_of(spec, model, AccessLevel.SCORES, context).scores(report.images.float() / 255).numpy()
    plain = network_scores(recipes.target, report.images.float() / 255, context)
    expected = np.sqrt(((served.astype(float) - plain) ** 2).sum(axis=1))
    assert entry["n"] == len(report) == 16 and entry["value"] == pytest.approx(expected.mean(), rel=1e-4)
    assert "private report split" in entry["remark"] and "served_scores" not in stored
    refused, stored = built(planned(plan, "rounding(decimals=1)", attack="brep_mi"), context)
    assert refused["status"] == "refused" and "labels alone" in refused["reason"] and "distortions" not in stored
