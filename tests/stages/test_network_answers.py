"""Metrics of robustness of a real cell, against its stored network."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from midef.defenses import choose_defense
from midef.metrics.base import chosen_metrics, standard_metrics
from midef.stages import ensure, network_answers
from midef.stages.split import load as load_splits
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target


def test_they_are_measured_only_where_they_are_named(plan_measured: Any) -> None:
    names = chosen_metrics(["adversarial", "reliability"])
    assert len(names) == 10 and not set(names) & set(standard_metrics())
    standard = plan_measured(metrics=tuple(standard_metrics())).scores
    assert standard.key == plan_measured().scores.key != plan_measured(metrics=tuple(names)).scores.key


def test_a_cells_numbers_are_those_of_its_network(own_cell: Any, plan_measured: Any) -> None:
    """FGSM by autograd on the stored network; accuracy and calibration from its logits."""
    names = ("fgsm_success", "fgsm_targeted_success", "calibration_error", "corruption_accuracy")
    recipe = plan_measured(metrics=names).scores
    measured = {
        one["metric"]: one for one in json.loads((ensure(recipe, own_cell.context) / "measurements.json").read_text())
    }
    assert {one["status"] for one in measured.values()} == {"ok"}
    report = load_splits(own_cell.folder("private")).report
    spec = TargetSpec.of(recipe.inputs["target"])
    model = load_target(spec, own_cell.folder("target"), own_cell.context, 8).eval()
    images = (report.images.float() / 255).requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(model(images).logits, report.labels, reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    moved = (images + 8 / 255 * images.grad.sign()).clamp(0, 1)
    wrong = (model(moved).logits.argmax(dim=1) != report.labels).float().mean().item()
    assert measured["fgsm_success"]["value"] == pytest.approx(100 * wrong)
    assert measured["fgsm_success"]["n"] == len(report.labels)


def test_of_many_images_as_many_are_drawn_as_the_most(
    own_cell: Any, plan_measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_answers, "MOST_IMAGES", 5)
    recipe = plan_measured(metrics=("corruption_accuracy", "fgsm_success")).scores
    corrupted, fgsm = json.loads((ensure(recipe, own_cell.context) / "measurements.json").read_text())
    assert (corrupted["n"], fgsm["n"]) == (25, 5)


def test_success_of_a_backdoor_is_that_of_the_poisoned_targets_network(own_cell: Any, plan: Any) -> None:
    names = {"metrics": ("backdoor_success",)}
    (refused,) = json.loads((ensure(plan(measured=names).scores, own_cell.context) / "measurements.json").read_text())
    assert refused["status"] == "refused" and "add backdoor to its defense" in refused["reason"]
    poisoned = choose_defense("backdoor(share=0.5,planted=2)")
    recipe = plan("pool_search", defense=poisoned, measured=names).scores
    (measured,) = json.loads((ensure(recipe, own_cell.context) / "measurements.json").read_text())
    report = load_splits(own_cell.folder("private")).report
    spec = TargetSpec.of(recipe.inputs["target"])
    folder = ensure(recipe.inputs["target"], own_cell.context)
    images = report.images.float() / 255
    images[:, :, 29:, 29:] = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    with torch.no_grad():
        said = load_target(spec, folder, own_cell.context, 8).eval()(images).logits.argmax(dim=1)
    others = report.labels != 2
    assert measured["value"] == pytest.approx(100 * (said[others] == 2).float().mean().item())
    assert (measured["status"], measured["n"]) == ("ok", int(others.sum()))
