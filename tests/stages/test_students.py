"""Students of reconstructions: what they learn from, which class is which identity, and their floor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from midef.core import Inputs, Recipe
from midef.models import ARCHITECTURES
from midef.stages import StudentPlan, ensure
from midef.stages.measuring import student_recipes, student_roles
from midef.stages.recipes import BACKBONE
from midef.stages.split import load as load_splits
from midef.stages.student import build, start_of, student_answers

PLAN = StudentPlan(architecture=ARCHITECTURES.choose("resnet18_tiny"), epochs=25)
METRIC = ("kes_ppa",)


def taught(cell: Any, tmp_path: Path, attacked: list[int]) -> dict[str, Any]:
    """Answers of students whose reconstructions are the private training images of these identities."""
    splits = load_splits(cell.folder("private"))
    kept = np.isin(splits.train.labels.numpy(), attacked)
    made = tmp_path / "made"
    made.mkdir()
    labels = splits.train.labels.numpy()[kept]
    np.savez_compressed(made / "images.npz", images=splits.train.images.numpy()[kept], labels=labels)
    recipes = student_recipes(METRIC, PLAN, cell.recipes.reconstructions, {})
    folders = {}
    for role, recipe in recipes.items():
        folders[recipe.key] = tmp_path / role
        folders[recipe.key].mkdir()
        inputs = Inputs(recipe.inputs, lambda needed: made)
        build(recipe, inputs, cell.context, folders[recipe.key])
        about = json.loads((folders[recipe.key] / "student.json").read_text())
        assert about == {"identities": attacked, "learned": int(kept.sum()), "failed": ""}
    scores = Recipe("scores", "metrics", {}, recipes)
    inputs = Inputs(recipes, lambda needed: folders[needed.key])
    return {"answers": student_answers(scores, inputs, cell.context, splits, np.array(attacked)), "splits": splits}


def test_a_student_of_the_private_images_knows_them_and_its_floor_does_not(cell: Any, tmp_path: Path) -> None:
    """Identities with a gap: a class of the student is not the number of the identity."""
    done = taught(cell, tmp_path, [1, 4, 7])
    answers, splits = done["answers"]["ppa"], done["splits"]
    assert sorted(answers.train_labels.tolist()) == sorted(i for i in splits.train.labels.tolist() if i in (1, 4, 7))
    assert answers.learned == len(answers.train_labels) == 12 and len(answers.report_labels) == 6
    # ten to all of twelve images, by processor; the floor five to eight
    assert answers.train_hits.mean() > 0.75 > 0.7 > answers.floor_train_hits.mean()
    assert answers.start == "resnet18_tiny from fresh weights"


def test_a_student_sees_no_private_image(plan_measured: Any) -> None:
    scores = plan_measured(metrics=METRIC, student=PLAN).scores
    assert student_roles(scores) == [("student_ppa", "student_ppa_floor")]
    student, floor = (scores.inputs[role] for role in student_roles(scores)[0])
    assert set(student.inputs) == {"reconstructions"} and student.params["training"]["checkpoint"] == "last"
    assert {**student.params, "shuffled": True} == floor.params and student.params["training"]["epochs"] == 25
    assert "student_ppa" not in plan_measured().scores.inputs, "only where a metric needs it"


def test_it_starts_from_published_weights_where_they_are_planned(plan_measured: Any) -> None:
    from midef.core import Choice

    weights = Choice("imagenet", {"sha256": "ab" * 32})
    plan = StudentPlan(architecture=ARCHITECTURES.choose("resnet50"), weights=weights)
    student = plan_measured(metrics=METRIC, student=plan).scores.inputs["student_ppa"]
    assert student.inputs[BACKBONE].component == "published"
    assert start_of(student) == "resnet50 from imagenet weights"
    training = student.params["training"]
    assert (training["optimizer"], training["learning_rate"], training["epochs"]) == ("sgd", 0.1, 75)
    loft = plan_measured(metrics=("kes_loft_test",), student=plan).scores.inputs["student_loft"].params["training"]
    assert (loft["optimizer"], loft["learning_rate"], loft["batch_size"], loft["epochs"]) == ("adam", 1e-3, 50, 100)


def test_the_score_of_a_cell_has_its_floor_and_says_what_it_starts_from(own_cell: Any, plan_measured: Any) -> None:
    plan = StudentPlan(architecture=ARCHITECTURES.choose("resnet18_tiny"), epochs=1)
    scores = plan_measured(metrics=("kes_ppa", "kes_ppa_test"), student=plan).scores
    measured = json.loads((ensure(scores, own_cell.context) / "measurements.json").read_text())
    splits = load_splits(own_cell.folder("private"))
    for entry, part in zip(measured, (splits.train, splits.report), strict=True):
        assert entry["status"] == "ok" and 0 <= entry["chance"] <= 100
        assert entry["n"] == int(sum(label < 6 for label in part.labels.tolist())) and entry["groups"] == 6
        start, floor = entry["remark"].split("; floor: the same under shuffled labels; ")
        assert start == "resnet18_tiny from fresh weights, 18 reconstructions"
        assert floor == f"floor {entry['chance']:.1f} %"


def test_a_student_that_diverges_is_a_failed_metric_and_no_lost_cell(
    own_cell: Any, plan_measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from midef.core.errors import TrainingDiverged
    from midef.stages import student

    def diverged(*given: Any, **named: Any) -> None:
        raise TrainingDiverged("the loss is not finite")

    monkeypatch.setattr(student, "fit_classifier", diverged)
    scores = plan_measured(metrics=("coverage", "kes_ppa"), student=PLAN).scores
    coverage, kes = json.loads((ensure(scores, own_cell.context) / "measurements.json").read_text())
    assert coverage["status"] == "ok"
    assert (kes["status"], kes["failure"]) == ("failed", "diverged") and "the loss is not finite" in kes["reason"]
