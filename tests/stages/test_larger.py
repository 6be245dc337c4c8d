"""Reconstructions of the evaluator's size, where the prior draws more pixels than the target takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from midef.attacks import ATTACKS, Reconstructions
from midef.attacks.base import Task
from midef.attacks.gmi import Gmi
from midef.core import Choice, MidefError, Protocol, Recipe
from midef.datasets import Images
from midef.models import ARCHITECTURES
from midef.stages import CellRecipes, StudentPlan, ensure, student
from midef.stages.evaluator import EvaluatorSpec, evaluate_images
from midef.stages.evaluator import load as load_evaluator
from midef.stages.resize import low_to_high
from midef.stages.split import load as load_splits

PlanCell = Callable[..., CellRecipes]
SMALL = {"latent_dim": 4, "channel_base": 64, "channel_max": 4, "steps": 1, "batch_size": 4}
METRICS = ("attack_accuracy_at_1", "knn_distance", "psnr", "lpips_nearest", "trait_accuracy", "kes_ppa")


def ppa(**prior: Any) -> Choice:
    given = {"name": "style_gan2", **SMALL, **prior}
    return ATTACKS.choose(
        {"name": "ppa", "pool": 8, "candidates": 4, "iterations": 1, "selection_rounds": 1, "prior": given}
    )


def judged_at(px: int) -> dict[str, Any]:
    return {"protocol": Protocol(identities=6, images_per_identity=3, evaluator_resolution_px=px)}


@pytest.fixture
def large(plan: PlanCell) -> CellRecipes:
    """A target of 32 px, a prior of 64 and an evaluator of 40."""
    of_students = StudentPlan(architecture=ARCHITECTURES.choose("resnet18_tiny"), epochs=1)
    return plan(ppa(resolution_px=64), measured={"metrics": METRICS, "student": of_students})


def arrays(folder: Path, name: str = "images.npz") -> dict[str, np.ndarray]:
    with np.load(folder / name, allow_pickle=False) as stored:
        return dict(stored)


# ---------------------------------------------------------------- what the recipe names


def test_a_size_is_named_only_where_the_prior_draws_more_and_the_evaluator_takes_more(plan: PlanCell) -> None:
    """Every other key is what it was before there was a choice."""
    assert plan(ppa(resolution_px=64)).reconstructions.params["kept_px"] == 40
    assert plan(ppa(resolution_px=64), **judged_at(112)).reconstructions.params["kept_px"] == 112
    styles = ATTACKS.choose({"name": "vmi", "family": "gauss", "prior": {**SMALL, "resolution_px": 64, "r1": 0.1}})
    assert plan(styles).reconstructions.params["kept_px"] == 40
    published = [f"ppa:midre(prior=style_gan2:{name})" for name in ("ffhq", "metfaces", "afhq-dog", "ffhq-256")]
    cells = [plan(ATTACKS.choose(attack), resolution_px=224, **judged_at(299)) for attack in published]
    assert [cell.reconstructions.params["kept_px"] for cell in cells] == [299] * 4
    as_before = {"attack", "identities", "images_per_identity", "seed"}
    sized = [ppa(), ppa(resolution_px=32), ppa(resolution_px=16), "gmi", "brep_mi", "pool_search", "inversion_model"]
    others = [*map(plan, sized), *(plan(ppa(resolution_px=64), **judged_at(px)) for px in (24, 32))]
    assert all(cell.reconstructions.params.keys() == as_before for cell in others)
    assert all("alike" not in cell.scores.inputs for cell in others)


def test_evaluators_up_to_what_the_target_takes_share_reconstructions_and_targets_are_shared_by_all(
    plan: PlanCell,
) -> None:
    cells = [plan(ppa(resolution_px=64), **judged_at(px)) for px in (24, 32, 40)]
    assert cells[0].reconstructions == cells[1].reconstructions != cells[2].reconstructions
    assert len({cell.target for cell in cells}) == 1
    alike = cells[2].scores.inputs["alike"]
    assert alike == cells[2].scores.inputs["judged"] and alike.params["resolution_px"] == 40


# ---------------------------------------------------------------- who sees what


def test_everyone_sees_the_size_it_takes(
    large: CellRecipes, plan: PlanCell, own_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluator the images themselves; metrics private images of their size; regressor and student, and an
    evaluator of another size, the images made smaller."""
    learned: list[int] = []
    fit = student.fit_classifier

    def spy(model: Any, images: Images, *rest: Any, **how: Any) -> Any:
        learned.append(images.images.shape[-1])
        return fit(model, images, *rest, **how)

    monkeypatch.setattr(student, "fit_classifier", spy)
    scores = ensure(large.scores, own_cell.context)
    store = own_cell.context.store.artifacts
    made = arrays(store.fetch(large.reconstructions.key))
    assert made["images"].shape == (18, 3, 40, 40) and made["images"].dtype == np.uint8

    measured = {entry["metric"]: entry for entry in json.loads((scores / "measurements.json").read_text())}
    statuses = {name: entry["status"] for name, entry in measured.items()}
    assert statuses == {**dict.fromkeys(METRICS, "ok"), "psnr": "refused", "lpips_nearest": "refused"}

    images = torch.from_numpy(made["images"])
    assert hits_of(large, images, own_cell) == arrays(scores, "per_image.npz")["hit_at_1"].tolist()
    exemplars = arrays(scores, "exemplars.npz")["images"]
    own = load_splits(store.fetch(large.scores.inputs["judged"].key)).train.images.numpy()
    assert exemplars.shape == (6, 3, 40, 40) and all((own == one).all(axis=(1, 2, 3)).any() for one in exemplars)
    assert arrays(scores, "traits.npz")["traits"].shape[0] == 18 and learned == [32, 32]

    other = plan(ppa(resolution_px=64), **judged_at(32))
    roles = {role: other.scores.inputs[role] for role in ("evaluator", "judged")}
    again = replace(large.scores, inputs={**large.scores.inputs, **roles})
    hits = arrays(ensure(again, own_cell.context), "per_image.npz")["hit_at_1"].tolist()
    assert hits == hits_of(other, low_to_high(images, 32), own_cell)


def hits_of(cell: CellRecipes, images: torch.Tensor, own_cell: Any) -> list[bool]:
    """Whether the evaluator of a cell names the identity of images that are already of its size."""
    folder = own_cell.context.store.artifacts.fetch(cell.evaluator.key)
    evaluator = load_evaluator(EvaluatorSpec.of(cell.evaluator), folder, own_cell.context, 8)
    assert images.shape[-1] == EvaluatorSpec.of(cell.evaluator).resolution_px
    logits, _ = evaluate_images(evaluator, images, "cpu")
    hits: list[bool] = (logits.argmax(1) == np.arange(6).repeat(3)).tolist()
    return hits


def test_the_best_by_target_is_chosen_at_what_the_target_takes(
    large: CellRecipes, own_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from midef.stages import scores as stage

    seen: list[np.ndarray] = []

    def spy(handle: Any, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        seen.append(images)
        return np.arange(len(images), dtype=float)

    monkeypatch.setattr(stage, "target_scores", spy)
    params = {**large.scores.params, "metrics": {"attack_accuracy_at_1": 1}}
    params["protocol"] = {**params["protocol"], "counted": "best_by_target"}
    roles = {
        role: needed for role, needed in large.scores.inputs.items() if needed.kind not in ("student", "regressor")
    }
    scores = ensure(Recipe("scores", "metrics", params, roles, large.scores.version), own_cell.context)
    made = torch.from_numpy(arrays(own_cell.context.store.artifacts.fetch(large.reconstructions.key))["images"])
    assert np.array_equal(seen[0], low_to_high(made, 32).numpy())
    assert arrays(scores, "per_image.npz")["restarts"].tolist() == [2] * 6


def test_an_attack_that_promises_a_size_it_does_not_give_is_told(
    plan: PlanCell, own_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gmi, "drawn_px", lambda self, resolution_px: 64)

    def search(self: Gmi, handle: Any, networks: Any, task: Task) -> Reconstructions:
        images = torch.zeros(18, 3, 32, 32)
        return Reconstructions(images, task.labels, task.restarts, torch.ones(18, dtype=torch.bool))

    monkeypatch.setattr(Gmi, "search", search)
    recipes = plan(seed=3)
    with pytest.raises(MidefError, match="gmi was asked for images of 40 px, it gave 32"):
        ensure(recipes.reconstructions, own_cell.context)
