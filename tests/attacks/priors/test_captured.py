"""Every prior trains the same where its updates are replayed: no Python number in them changes from step to step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from midef.attacks import PRIORS, Prior
from midef.attacks.target_handle import TargetHandle
from midef.core import Choice, Inputs, Recipe
from midef.defenses import Defense
from midef.testing import attacks as contract
from midef.training.generative import loop, updates
from midef.training.generative.speed import SpeedSettings
from midef.training.generative.updates import Update
from tests.training.generative.recorded import recorded

TRAINED = [name for name in PRIORS.names() if issubclass(PRIORS.get(name), SpeedSettings)]
BUDGET = replace(contract.TINY, steps=9, epochs=3, public_steps=20)
OTHERWISE: dict[str, dict[str, Any]] = {
    "wgan_gp": {"objective": "wasserstein", "critic_steps": 2},
    "t_acgan": {"discriminator_steps": 2, "warm_up": 4},
    "style_gan2": {"mirror": True, "ada_images": 60, "ada_target": 0.01},
    "kedmi_gan": {"label_mode": "train", "discriminator_steps": 2},
}
"""What a small budget leaves out."""


@contextmanager
def replaying(number: int) -> Iterator[list[int]]:
    """Updates are replayed after so many plain ones; gives the count of what was recorded."""
    seen: list[int] = []

    def capture(*given: Any) -> Any:
        seen.append(1)
        return recorded(*given)

    def update(*given: Any, **how: Any) -> Update:
        return Update(*given, **{**how, **({"capture": capture} if "capture" in how else {})})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "Update", update)
        patch.setattr(updates, "WARM_UP", number)
        yield seen


def prior_of(name: str) -> Prior:
    return replace(PRIORS.make(name, PRIORS.get(name).small(BUDGET)), **OTHERWISE.get(name, {}))


def trained(prior: Prior, folder: Path) -> dict[str, Tensor]:
    """Weights, and how often the target was asked."""
    handle = TargetHandle(contract.toy_target(), Defense(), prior.asks or contract.AccessLevel.LABELS)

    def stored(of: Any) -> Inputs:
        def fetch(recipe: Recipe) -> Path:
            first = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
            torch.manual_seed(1)
            first.store(first.networks(contract.RESOLUTION_PX, contract.CLASSES), folder)
            return folder

        return Inputs(of.requires(target=contract.TARGET, public=contract.PUBLIC), fetch)

    networks = contract.fit(prior, handle, stored)
    return {**contract.weights(networks), "queries": torch.tensor(handle.queries)}


@pytest.mark.parametrize("name", TRAINED)
def test_a_replayed_training_gives_the_same_weights(name: str, tmp_path: Path) -> None:
    plain = trained(prior_of(name), tmp_path)
    with replaying(1) as seen:
        replayed = trained(prior_of(name), tmp_path)
    assert seen, "no update was captured"
    assert [key for key in plain if not torch.equal(plain[key], replayed[key])] == []


@pytest.mark.parametrize("name", TRAINED)
def test_half_precision_trains_other_weights_nearby(name: str, tmp_path: Path) -> None:
    if name == "style_gan2":
        with pytest.raises(ValueError, match="its networks compute in float32 whatever the precision around them"):
            replace(PRIORS.make(name), precision="bfloat16")
        return
    plain = trained(prior_of(name), tmp_path)
    half = trained(replace(prior_of(name), precision="bfloat16"), tmp_path)
    assert any(not torch.equal(plain[key], half[key]) for key in plain)
    assert all(half[key].isfinite().all() and half[key].dtype == plain[key].dtype for key in half)


@pytest.mark.parametrize("name", TRAINED)
def test_keys_stay_where_nothing_is_asked_for(name: str) -> None:
    """The parameters of stored priors have neither field."""
    params = PRIORS.describe(PRIORS.make(name)).params
    assert not {f.name for f in fields(SpeedSettings)} & set(params)
    asked = PRIORS.describe(replace(PRIORS.make(name), captured=True, precision="tf32")).params
    assert asked == {**params, "captured": True, "precision": "tf32"}
