"""LOMMA on KedMI: its loss in KedMI's search; the loss itself is tested with `lomma_gmi`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from midef.attacks import ATTACKS, Attack
from midef.attacks.base import Task
from midef.attacks.kedmi import Kedmi
from midef.attacks.lomma_kedmi import LommaKedmi
from midef.attacks.priors.kedmi_gan import KedmiGan
from midef.attacks.priors.networks.dcgan import Generator
from midef.attacks.priors.students import Students
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, Recipe
from midef.defenses import Defense
from midef.nn.network import Forward, TargetModel, freeze_

PX, CLASSES, LATENT_DIM = 16, 5, 6
SMALL_GAN = KedmiGan(width=2, latent_dim=LATENT_DIM)
SMALL_STUDENTS = Students(family="cnn_tiny", count=2, weights="none")
SMALL: dict[str, Any] = {"prior": SMALL_GAN, "students": SMALL_STUDENTS}


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    """What both priors hold, turned up until images differ visibly."""
    torch.manual_seed(0)
    made = {**SMALL_GAN.networks(PX, CLASSES), **SMALL_STUDENTS.networks(PX, CLASSES)}
    with torch.no_grad():
        made["generator"].project[0].weight.mul_(8)  # type: ignore[index,union-attr]
        made["generator"].grow[-2].weight.mul_(8)  # type: ignore[index,union-attr]
        made["statistics"].mean = torch.rand(3 * PX**2)
    for network in made.values():
        freeze_(network)
    return made


@pytest.fixture
def inputs_of(tmp_path: Path, networks: dict[str, nn.Module]) -> Callable[[Attack], Inputs]:
    """What an attack starts from."""
    for name, network in networks.items():
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / f"{name}.safetensors")

    def inputs(attack: Attack) -> Inputs:
        recipes = attack.requires(
            target=Recipe("target", "classifier"), public=Recipe("split", "faces", {"resolution_px": 32})
        )
        return Inputs(recipes, lambda recipe: tmp_path)

    return inputs


@pytest.fixture
def target() -> TargetModel:
    torch.manual_seed(1)
    head = nn.Linear(3 * PX**2, CLASSES)
    return TargetModel([("pixels", nn.Flatten())], head, feature_dim=3 * PX**2, n_classes=CLASSES)


def search(attack: Attack, target: TargetModel, inputs: Inputs) -> tuple[Tensor, int]:
    """Two images of each identity, and the queries they took."""
    handle = TargetHandle(target, Defense(), attack.access)
    task = Task(torch.arange(10) // 2, torch.arange(10) % 2, PX, 7, "cpu")
    return attack.reconstruct(handle, inputs, task).images, handle.queries


def test_the_identity_loss_is_the_weighted_sum_of_its_two_parts(
    target: TargetModel, networks: dict[str, nn.Module]
) -> None:
    attack = LommaKedmi(feature_weight=0.3, identity_weight=50.0, **SMALL)
    images, labels = torch.rand(4, 3, PX, PX), torch.tensor([2, 0, 4, 4])
    handle = TargetHandle(target, Defense(), attack.access)
    seen: list[Forward] = attack.ask(handle, networks, images)
    assert len(seen) == 3 and handle.queries == 4
    found = attack.identity_loss(networks, seen, labels)
    for i, y in enumerate(labels.tolist()):
        one = images[i : i + 1]
        own = target(one).logits[0, y] + networks["student0"](one)[0, y] + networks["student1"](one)[0, y]
        far = (one.flatten() - networks["statistics"].mean).square().sum() / (3 * PX**2)  # type: ignore[operator]
        assert found[i].item() == pytest.approx(50 * (-own / 3 + 0.3 * far).item(), rel=1e-4)


def test_without_its_two_parts_it_is_kedmi_with_clamped_latents(
    target: TargetModel, inputs_of: Callable[[Attack], Inputs]
) -> None:
    plain = Kedmi(iterations=5, clamp_before_generator=True, prior=SMALL_GAN)
    baseline = LommaKedmi(iterations=5, **{**ATTACKS.get("lomma_kedmi").presets["baseline"], **SMALL})
    full = LommaKedmi(iterations=5, **SMALL)
    images, queries = search(plain, target, inputs_of(plain))
    same, same_queries = search(baseline, target, inputs_of(baseline))
    other, other_queries = search(full, target, inputs_of(full))
    assert torch.equal(images, same) and not torch.allclose(images, other, atol=1e-3)
    assert queries == same_queries == other_queries == 5 * CLASSES, "one search per identity; students are no queries"


def test_latents_are_clamped_before_they_are_drawn(
    target: TargetModel, inputs_of: Callable[[Attack], Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    forward = Generator.forward

    def spy(self: Generator, latents: Tensor) -> Tensor:
        seen.append(latents.detach().clone())
        return forward(self, latents)

    monkeypatch.setattr(Generator, "forward", spy)
    attack = LommaKedmi(iterations=3, **SMALL)
    search(attack, target, inputs_of(attack))
    assert len(seen) >= 4 and all(latents.abs().max() == 1 for latents in seen)


@pytest.mark.parametrize(
    ("preset", "parts", "students"),
    [
        ("lomma", (True, True, 1.0), True),
        ("tldmi", (True, True, 1.0), True),
        ("baseline", (False, False, 0.0), False),
        ("augmentation", (False, True, 0.0), True),
        ("logit", (True, False, 1.0), True),
    ],
)
def test_presets_are_the_published_variants(preset: str, parts: tuple[bool, bool, float], students: bool) -> None:
    attack = ATTACKS.remake(ATTACKS.choose(f"lomma_kedmi:{preset}"))
    assert isinstance(attack, LommaKedmi) and attack.per_identity
    assert (attack.logit_loss, attack.ensemble, attack.feature_weight) == parts
    assert ("students" in attack.priors) == students, "students are trained only where something looks at them"
    logvar0 = 0.0 if preset == "tldmi" else 1.0
    assert (attack.iterations, attack.logvar0, attack.clamp_before_generator) == (2400, logvar0, True)
    assert (attack.learning_rate, attack.identity_weight) == (0.02, 100.0)


def test_the_search_raises_the_mean_logit(
    target: TargetModel, networks: dict[str, nn.Module], inputs_of: Callable[[Attack], Inputs]
) -> None:
    def mean_logit(iterations: int) -> float:
        attack = LommaKedmi(iterations=iterations, feature_weight=0.0, **SMALL)
        images, _ = search(attack, target, inputs_of(attack))
        labels = torch.arange(10)[:, None] // 2
        with torch.no_grad():
            answers = [target(images).logits, networks["student0"](images), networks["student1"](images)]
        return sum(float(answer.gather(1, labels).mean()) for answer in answers)

    assert mean_logit(1) < mean_logit(30) < mean_logit(90)
