"""The training-based attack: what it inverts, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from midef.attacks.base import Task
from midef.attacks.inversion_model import InversionModel
from midef.attacks.priors.tcnn import Tcnn
from midef.attacks.target_handle import TargetHandle
from midef.core import AccessError, Inputs, Recipe
from midef.defenses import Defense
from midef.models import ARCHITECTURES
from midef.nn.answers import score_features

CLASSES = 5


@pytest.fixture
def attack() -> InversionModel:
    return InversionModel(prior=Tcnn(width=4, top=2))


@pytest.fixture
def inputs(tmp_path: Path, attack: InversionModel) -> Inputs:
    torch.manual_seed(0)
    network = attack.prior.networks(32, CLASSES)["inverter"]
    save_file(dict(network.state_dict()), tmp_path / "inverter.safetensors")
    needed = attack.requires(
        target=Recipe("target", "classifier"), public=Recipe("split", "synthetic_faces", {"resolution_px": 32})
    )
    return Inputs(needed, lambda recipe: tmp_path)


@pytest.fixture
def handle(attack: InversionModel) -> TargetHandle:
    return TargetHandle(ARCHITECTURES.make("vgg16_tiny").build(CLASSES, 32), Defense(), attack.access)


def test_it_draws_from_the_observed_answers_alone(attack: InversionModel, inputs: Inputs, handle: TargetHandle) -> None:
    observed = torch.rand(6, CLASSES).softmax(1)
    task = Task(torch.arange(6) % CLASSES, torch.zeros(6, dtype=torch.long), 32, 0, "cpu", observed)
    found = attack.reconstruct(handle, inputs, task)
    network = attack.prior.load(inputs.path("inverter"), 32, CLASSES, "cpu")["inverter"]
    assert torch.allclose(found.images, network(score_features(observed, top=2)), atol=1e-6)
    assert handle.queries == 0, "the victims asked, not the attacker"


@pytest.mark.parametrize("answers", ["noise", "softmax"])
def test_it_changes_what_it_observed_as_its_prior_changed_what_it_was_trained_on(
    answers: str, attack: InversionModel, inputs: Inputs, handle: TargetHandle
) -> None:
    observed = torch.rand(6, CLASSES).softmax(1)
    task = Task(torch.arange(6) % CLASSES, torch.zeros(6, dtype=torch.long), 32, 0, "cpu", observed)
    prior = replace(attack.prior, answers=answers, answer_noise=0.1)
    found = replace(attack, prior=prior).reconstruct(handle, inputs, task)
    network = attack.prior.load(inputs.path("inverter"), 32, CLASSES, "cpu")["inverter"]
    assert torch.allclose(found.images, network(prior.features(prior.observed(task))), atol=1e-6)
    assert not torch.allclose(found.images, attack.reconstruct(handle, inputs, task).images, atol=1e-4)


def test_it_refuses_to_work_without_observed_answers(
    attack: InversionModel, inputs: Inputs, handle: TargetHandle
) -> None:
    task = Task(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long), 32, 0, "cpu")
    with pytest.raises(AccessError, match="needs the observed scores of one private image per reconstruction"):
        attack.reconstruct(handle, inputs, task)
