"""No step of a training waits for the device, as the device itself tells: any wait inside a step is an error.

Where there is no GPU nothing of this runs; test_steps.py reads the source instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from midef.attacks import PRIORS, AccessLevel
from midef.attacks.priors.base import FitContext, PublicPrior, TargetedPrior
from midef.attacks.target_handle import TargetHandle
from midef.core import Choice, Inputs, Recipe
from midef.datasets import DATASETS
from midef.defenses import DEFENSES, Defense
from midef.models import ARCHITECTURES
from midef.testing import attacks as contract
from midef.testing.trainings import made, network_of
from midef.training import TrainingRecipe
from midef.training.classifier import fit as training
from midef.training.generative import loop, updates
from midef.training.generative.speed import SpeedSettings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to tell that nobody waits for it")

DEVICE = "cuda:0"
PRIVATE = DATASETS.choose({"name": "synthetic_faces", "identities": 8, "train_images": 8, "report_images": 2})
TRAINED = [name for name in PRIORS.names() if issubclass(PRIORS.get(name), SpeedSettings)]
ACTING = [
    name
    for name in DEFENSES.names()
    if made(name).trains and not made(name).starts_from_private and made(name).acts_on_training
]
"""Defenses whose training starts from nothing that is stored."""
BUDGET = replace(contract.TINY, steps=30, public_steps=30)


@contextmanager
def refusing_to_wait() -> Iterator[None]:
    """Waiting for the device is an error while this lasts."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def never_waiting(step: Callable[..., Any], *, after: int) -> Callable[..., Any]:
    """A step that may not wait, from its second or later call on: libraries set up in the first."""
    calls = [0]

    def checked(*given: Any, **how: Any) -> Any:
        calls[0] += 1
        if calls[0] <= after:
            return step(*given, **how)
        with refusing_to_wait():
            return step(*given, **how)

    return checked


@pytest.mark.parametrize("name", ["none", *ACTING])
def test_no_step_of_a_training_waits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defense = made(name)
    architecture = ARCHITECTURES.remake(network_of(name))
    splits = DATASETS.remake(PRIVATE).load(32)
    model = defense.prepare_model(architecture.build(8, 32), inputs=Inputs({}, lambda recipe: Path(recipe.component)))
    model.head = defense.prepare_head(model.head)
    monkeypatch.setattr(training._Training, "_step", never_waiting(training._Training._step, after=2))
    planned = {"epochs": 3, "batch_size": 16, "color_jitter": (0.1, 0.1, 0.1, 0.1), "crop_scale": (0.8, 1.0)}
    training.fit_classifier(
        model,
        splits.train,
        splits.select,
        facts=defense.facts_after(architecture.facts()),
        recipe=TrainingRecipe.make({**planned, **defense.training_overrides(planned)}),
        defense=defense,
        seed=0,
        device=DEVICE,
    )


@pytest.mark.parametrize("is_captured", [False, True], ids=["plain", "captured"])
@pytest.mark.parametrize("name", TRAINED)
def test_no_step_of_a_prior_waits(
    name: str, is_captured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = replace(PRIORS.make(name, PRIORS.get(name).small(BUDGET)), captured=is_captured)
    if hasattr(prior, "epochs"):
        prior = replace(prior, epochs=20)  # of few batches each
    update, steps = updates.Update.__call__, loop.TrainingRun.steps
    calls: dict[int, Callable[..., Any]] = {}

    def updated(own: updates.Update, *given: Any) -> Any:
        return calls.setdefault(id(own), never_waiting(update, after=2 * updates.WARM_UP))(own, *given)

    def stepped(run: loop.TrainingRun, count: int, step: Any, **how: Any) -> Any:
        return steps(run, count, never_waiting(step, after=count // 2), **how)

    monkeypatch.setattr(updates.Update, "__call__", updated)  # epochs have steps of their own, and then tell an error
    monkeypatch.setattr(loop.TrainingRun, "steps", stepped)

    def fetch(recipe: Recipe) -> Path:
        first = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
        first.store(first.networks(contract.RESOLUTION_PX, contract.CLASSES), tmp_path)
        return tmp_path

    inputs = Inputs(prior.requires(target=contract.TARGET, public=contract.PUBLIC), fetch)
    context = FitContext(inputs=inputs, public=contract.public_set, device=DEVICE)
    networks = prior.networks(contract.RESOLUTION_PX, contract.CLASSES)
    if isinstance(prior, TargetedPrior):
        handle = TargetHandle(contract.toy_target(), Defense(), prior.asks or AccessLevel.LABELS, device=DEVICE)
        prior.fit(networks, contract.public_splits(), handle, context)
    else:
        assert isinstance(prior, PublicPrior)
        prior.fit(networks, contract.public_splits(), context)
