"""Whose verdict attack accuracy is: the evaluator's, or that of the network which was attacked."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from midef.attacks import Reconstructions
from midef.attacks.base import Task
from midef.attacks.gmi import Gmi
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, Protocol
from midef.defenses.rounding import Rounding
from midef.defenses.serving import Query
from midef.defenses.stack import choose_defense
from midef.metrics import standard_metrics
from midef.metrics.attack_accuracy import BY_TARGET
from midef.nn.network import TargetModel
from midef.stages import ensure
from midef.stages.resize import low_to_high
from midef.stages.split import load as load_splits
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target

MINE, BY_TARGETS, BY_EVALUATORS = (
    "attack_accuracy_at_1",
    "attack_accuracy_by_target",
    "attack_accuracy_by_evaluator",
)


def protocol(judge: Literal["evaluator", "target"]) -> Protocol:
    return Protocol(identities=6, images_per_identity=3, evaluator_resolution_px=40, judge=judge)


@torch.no_grad()
def percent_of(model: TargetModel, images: Tensor, labels: np.ndarray) -> float:
    own = model(images.float() / 255).logits.argmax(dim=1).numpy()
    return 100 * float((own == labels).mean())


@pytest.mark.parametrize("judge", ["evaluator", "target"])
def test_both_verdicts_are_measured_and_the_protocols_judge_decides(
    judge: Literal["evaluator", "target"], own_cell: Any, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target judges by its weights: what its defense does to answers, here turning them around, has no part in it.

    At this size its verdict is of images of 32 px, the evaluator's of 40.
    """

    def turned(self: Rounding, query: Query, state: None) -> Tensor:
        return query.probabilities.flip(1)

    def found(self: Gmi, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        """Private images, wherever there is one such that the target takes it for the attacked identity."""
        pool = load_splits(own_cell.folder("private")).all_images.float() / 255
        order = (handle.run(pool).logits.argmax(dim=1) != task.labels[:, None]).int().argmin(dim=1)
        return Reconstructions(pool[order], task.labels, task.restarts, torch.ones(len(order), dtype=torch.bool))

    monkeypatch.setattr(Rounding, "answer", turned)
    monkeypatch.setattr(Gmi, "reconstruct", found)  # of a network of one epoch the tiny attack finds nobody
    recipes = plan(
        defense=choose_defense("rounding"),
        protocol=protocol(judge),
        measured={"metrics": (MINE, BY_TARGETS, BY_EVALUATORS)},
    )
    folder = ensure(recipes.scores, own_cell.context)
    measured = {entry["metric"]: entry for entry in json.loads((folder / "measurements.json").read_text())}
    artifacts = own_cell.context.store.artifacts
    with np.load(artifacts.fetch(recipes.reconstructions.key) / "images.npz", allow_pickle=False) as stored:
        images, labels = torch.from_numpy(stored["images"]), stored["labels"]

    def network(recipe: Any) -> TargetModel:
        return load_target(TargetSpec.of(recipe), artifacts.fetch(recipe.key), own_cell.context, 8)

    target, evaluator = network(recipes.target), network(recipes.evaluator)
    by_target, by_evaluator = (
        percent_of(target, images, labels),
        percent_of(evaluator, low_to_high(images, 40), labels),
    )
    assert measured[BY_TARGETS]["value"] == pytest.approx(by_target)
    assert measured[BY_EVALUATORS]["value"] == pytest.approx(by_evaluator)
    assert by_target > by_evaluator, "they can be told apart"
    assert measured[MINE]["value"] == measured[BY_TARGETS if judge == "target" else BY_EVALUATORS]["value"]
    assert measured[MINE]["remark"] == (BY_TARGET if judge == "target" else "")
    assert (measured[BY_TARGETS]["remark"], measured[BY_EVALUATORS]["remark"]) == (BY_TARGET, "")
    with np.load(folder / "per_image.npz", allow_pickle=False) as stored:
        assert 100 * stored["hit_at_1"].mean() == pytest.approx(measured[MINE]["value"])
    at_32, at_40 = (load_splits(artifacts.fetch(recipes.scores.inputs[of].key)).report for of in ("private", "judged"))
    of_judge = percent_of(target, at_32.images, at_32.labels.numpy())
    if judge == "evaluator":
        of_judge = percent_of(evaluator, at_40.images, at_40.labels.numpy())
    facts = artifacts.meta(recipes.scores.key)["facts"]
    assert facts["evaluator_accuracy"] == pytest.approx(of_judge), "the judge's, which gates what it says"


def test_the_judge_is_in_the_key_of_scores_alone_and_only_where_it_is_the_target(plan: Any) -> None:
    usual, other = (plan(protocol=protocol(judge)) for judge in ("evaluator", "target"))
    assert usual.reconstructions == other.reconstructions and usual.scores != other.scores
    assert "judge" not in usual.scores.params["protocol"] and other.scores.params["protocol"]["judge"] == "target"
    assert not {BY_TARGETS, BY_EVALUATORS} & set(standard_metrics()), "stored scores would have other keys"
