"""Slips that released codes of this field are known for, each as a property of ours. One test, one slip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from midef.attacks import ATTACKS, PRIORS, AccessLevel, Prior
from midef.attacks.base import Task
from midef.attacks.gmi import Gmi
from midef.attacks.latent_search.l1_ball import nearest_in_l1_ball
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.latent_search.template import LatentSearch, Rows
from midef.attacks.priors.base import FitContext, TargetedPrior
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, Recipe
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.metrics import METRICS, Evidence
from midef.models import ARCHITECTURES
from midef.stages.scores import measure
from midef.testing.attacks import TINY
from midef.training import TrainingRecipe
from midef.training.classifier.fit import fit_classifier

PX, CLASSES = 32, 6


def noise_images(n: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, PX, PX), generator=rng, dtype=torch.uint8)


def test_gradients_are_clipped_after_backward() -> None:
    """Clipped before, they would not be: one step of plain SGD then moves the weights by more than rate * clip_norm."""
    torch.manual_seed(0)
    architecture = ARCHITECTURES.make("vgg16_tiny")
    model = architecture.build(CLASSES, PX)
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    data = Images(noise_images(24), torch.arange(24) % CLASSES)
    recipe = TrainingRecipe(
        epochs=1, batch_size=24, learning_rate=0.5, momentum=0.0, weight_decay=0.0, clip_norm=1e-3, flip=0.0
    )
    fit_classifier(model, data, data, facts=architecture.facts(), recipe=recipe, defense=Defense(), seed=0)
    moved = (nn.utils.parameters_to_vector(model.parameters()).detach() - before).norm()
    assert float(moved) == pytest.approx(0.5 * 1e-3, rel=1e-2)


CLAMPED = [cls.registered_name for cls in ATTACKS if issubclass(cls, Gmi)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CLAMPED)
def test_latents_are_clamped_on_both_sides(name: str) -> None:
    attack = ATTACKS.make(name)
    assert isinstance(attack, LatentSearch)
    latents = torch.tensor([[-9.0, -1.0, -0.5, 0.5, 1.0, 9.0]])
    attack.constrain_([latents], Rows(torch.zeros(1, dtype=torch.long), [0], RowStreams([0])))
    assert latents.tolist() == [[-1.0, -1.0, -0.5, 0.5, 1.0, 1.0]]


def test_a_gaussians_latents_are_clamped_on_both_sides_before_they_are_drawn() -> None:
    attack = ATTACKS.make("lomma_kedmi")
    assert isinstance(attack, LatentSearch)
    rows = Rows(torch.arange(50), range(50), RowStreams(range(50)))
    drawn = attack.latents([torch.zeros(50, 100), torch.full((50, 100), 1.0)], rows)
    assert drawn.min() == -1 and drawn.max() == 1 and (drawn.abs() < 1).any()


ASKING = [name for name in PRIORS.names() if PRIORS.get(name).asks is not None]


@pytest.mark.parametrize("name", ASKING)
def test_the_target_is_in_eval_mode_while_it_labels(name: str, tmp_path: Path) -> None:
    """In train mode its answers hang on the batch, and its running statistics drift."""
    torch.manual_seed(0)
    target = ARCHITECTURES.make("vgg16_tiny").build(CLASSES, PX).train()
    seen: list[bool] = []
    target.register_forward_hook(lambda module, given, answer: seen.append(any(m.training for m in module.modules())))
    handle = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    train, few = Images(noise_images(8), torch.full((8,), -1)), Images(noise_images(3, 1), torch.full((3,), -1))
    prior = PRIORS.make(name, PRIORS.get(name).small(TINY))
    assert isinstance(prior, TargetedPrior)
    context = FitContext(inputs=inputs_of(prior, tmp_path))
    prior.fit(prior.networks(PX, CLASSES), Splits(train, few, few, ()), handle, context)
    assert seen and not any(seen)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def inputs_of(prior: Prior, folder: Path) -> Inputs:
    """What a prior starts from, with random weights."""
    for f in fields(prior):
        if isinstance(earlier := getattr(prior, f.name), Prior):
            for role, network in earlier.networks(PX, CLASSES).items():
                save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / f"{role}.safetensors")
    recipes = prior.requires(public=Recipe("split", "a", {"resolution_px": 32}), target=Recipe("target", "b"))
    return Inputs(recipes, lambda recipe: folder)


def test_a_step_does_not_shrink_with_the_batch(tmp_path: Path) -> None:
    """With batch means, momentum SGD moves a latent of 60 only a sixtieth as far as one alone."""
    attack = ATTACKS.make("gmi", {"iterations": 4, "prior": {"width": 4, "latent_dim": 6}})
    torch.manual_seed(0)
    for role, network in attack.prior.networks(PX, 0).items():  # type: ignore[attr-defined]
        for weights in network.parameters():
            weights.data.mul_(3)
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / f"{role}.safetensors")
    inputs = Inputs(
        attack.requires(public=Recipe("split", "a", {"resolution_px": 32}), target=Recipe("target", "b")),
        lambda recipe: tmp_path,
    )
    target = ARCHITECTURES.make("vgg16_tiny").build(CLASSES, PX)

    def found(restarts: int, iterations: int = 4) -> Tensor:
        handle = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX)
        task = Task(torch.zeros(restarts, dtype=torch.long), torch.arange(restarts), PX, 0, "cpu")
        return replace(attack, iterations=iterations).reconstruct(handle, inputs, task).images  # type: ignore[call-arg]

    alone, among_sixty = found(1)[0], found(60)[0]
    assert torch.allclose(alone, among_sixty, atol=1e-5)
    assert (alone - found(1, iterations=1)[0]).abs().max() > 1e-3, "the steps can be seen"


@pytest.mark.parametrize("radius", [0.5, 3.0, 1e3], ids=str)
def test_an_l1_ball_lies_around_its_centre(radius: float) -> None:
    rng = torch.Generator().manual_seed(0)
    centre, values = 5 + torch.randn(7, 2, 3, generator=rng), 5 + 4 * torch.randn(7, 2, 3, generator=rng)
    found = nearest_in_l1_ball(values, centre, radius=radius)
    length = (found - centre).abs().flatten(1).sum(1)
    assert (length <= radius * (1 + 1e-5)).all()
    outside = (values - centre).abs().flatten(1).sum(1) > radius
    assert torch.allclose(length[outside], torch.tensor(radius), rtol=1e-4)
    assert torch.equal(found[~outside], values[~outside])
    for _ in range(200):  # no other point of the ball is nearer
        step = torch.randn(7, 2, 3, generator=rng)
        other = centre + step * (radius * torch.rand(7, 1, 1, generator=rng) / step.abs().sum(dim=(1, 2), keepdim=True))
        nearer = (other - values).flatten(1).norm(dim=1) < (found - values).flatten(1).norm(dim=1) - 1e-5
        assert not nearer.any()
    moved = nearest_in_l1_ball(values + 10, centre + 10, radius=radius)
    assert torch.allclose(moved, found + 10, atol=1e-4), "only the offset from the centre counts"


def test_a_surer_target_is_a_larger_reward() -> None:
    """MIBench gives the margin term the opposite sign."""
    attack: Any = ATTACKS.make("rlb_mi")
    sure, unsure, wrong = torch.tensor([[0.90, 0.05, 0.05], [0.40, 0.35, 0.25], [0.10, 0.80, 0.10]])
    rewards = attack.reward(torch.stack([sure, unsure, wrong]), torch.zeros(3, dtype=torch.long)).tolist()
    assert rewards[0] > rewards[1] > rewards[2]
    margin = 8 * np.log(0.85) + 4 * np.log(0.90)
    assert rewards[0] == pytest.approx(margin, rel=1e-4)


@pytest.mark.parametrize("name", [name for name in METRICS.names() if METRICS.get(name).larger_is != "more costly"])
def test_a_metric_that_fails_is_never_a_zero(name: str) -> None:
    none = np.empty(0, dtype=np.int64)
    evidence = Evidence(
        n_classes=9,
        report_labels=none,
        report_predictions=none,
        labels=none,
        restarts=none,
        found=none.astype(bool),
        evaluator_logits=np.empty((0, 9)),
        features=np.empty((0, 2)),
        private_features=np.zeros((9, 2)),
        private_labels=np.arange(9),
        queries=0,
        attack_s=0.0,
        train_s=0.0,
    )
    (entry,) = measure([name], evidence)
    assert entry["status"] == "failed" and entry["value"] is None and entry["reason"]


def test_the_best_of_five_is_not_the_mean_of_five() -> None:
    """One success among five restarts is 20 percent, and the spread is over restarts, not the luck of the best."""
    labels, restarts = np.repeat(np.arange(10), 5), np.tile(np.arange(5), 10)
    hits = restarts == 3
    logits = np.zeros((50, 10))
    logits[np.arange(50), np.where(hits, labels, (labels + 1) % 10)] = 1.0
    evidence: Callable[..., Evidence] = Evidence
    (entry,) = measure(
        ["attack_accuracy_at_1"],
        evidence(
            n_classes=10,
            report_labels=labels,
            report_predictions=labels,
            labels=labels,
            restarts=restarts,
            found=np.ones(50, bool),
            evaluator_logits=logits,
            features=logits,
            private_features=logits,
            private_labels=labels,
            queries=0,
            attack_s=0.0,
            train_s=0.0,
        ),
    )
    assert entry["value"] == pytest.approx(20.0)
    assert (
        entry["spread"] == pytest.approx(100 * np.std([0, 0, 0, 1, 0], ddof=1)) and entry["spread_kind"] == "restarts"
    )
