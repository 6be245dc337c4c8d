"""LOMMA's identity loss from its formula and the released code, and that it takes the place of GMI's."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from midef.attacks import ATTACKS, Attack
from midef.attacks.base import Task
from midef.attacks.gmi import Gmi
from midef.attacks.latent_search import memory
from midef.attacks.latent_search.lomma import class_loss, feature_distance
from midef.attacks.lomma_gmi import LommaGmi
from midef.attacks.priors.networks.dcgan import Generator
from midef.attacks.priors.students import Students
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, Recipe
from midef.defenses import Defense
from midef.nn.network import TargetModel, freeze_

PX, CLASSES, LATENT_DIM = 16, 5, 6
SMALL_GAN = WganGp(width=2, latent_dim=LATENT_DIM)
SMALL_STUDENTS = Students(family="cnn_tiny", count=2, weights="none")
SMALL: dict[str, Any] = {"prior": SMALL_GAN, "students": SMALL_STUDENTS}


def made(shape: tuple[int, ...], frequency: float) -> Tensor:
    """Numbers between -3 and 3 that need no file: 3 sin(frequency i), i = 1, 2, ..."""
    return 3 * torch.sin(frequency * torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)).view(shape)


# ---------------------------------------------------------------- the loss


@pytest.mark.parametrize("logit_loss", [True, False], ids=["logits", "cross entropy"])
def test_the_class_loss_by_loops(logit_loss: bool) -> None:
    logits, labels = [made((6, 4), k) for k in (1.0, 1.9, 2.7)], torch.tensor([0, 3, 1, 2, 2, 0])
    found = class_loss(logits, labels, logit_loss=logit_loss)
    assert found.shape == (6,)
    for i, y in enumerate(labels.tolist()):
        expected = 0.0
        for one in logits:
            row = one[i].tolist()
            expected += (-row[y] if logit_loss else math.log(sum(math.exp(o) for o in row)) - row[y]) / 3
        assert found[i].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_logit_loss_pulls_each_network_s_own_logit_alike_and_no_other() -> None:
    logits = [made((2, 4), k).requires_grad_(True) for k in (1.0, 1.9)]
    slopes = torch.autograd.grad(class_loss(logits, torch.tensor([1, 3]), logit_loss=True).sum(), logits)
    expected = torch.tensor([[0, -0.5, 0, 0], [0, 0, 0, -0.5]], dtype=torch.float64)
    assert all(torch.allclose(slope, expected) for slope in slopes)


def test_the_loss_is_that_of_the_released_code() -> None:
    """Golden: `iden_loss` of sutd-visual-computing-group/Re-thinking_MI, attack.py at 25ed95fd, with `logit_loss`, two
    networks and lam 1; a mean over the batch. float64, torch 2.15, 2026-11-21."""
    logits, labels = [made((4, 5), 1.0), made((4, 5), 4.0)], torch.tensor([0, 3, 1, 4])
    features, usual = made((4, 6), 9.0), made((6,), 10.0)
    found = class_loss(logits, labels, logit_loss=True) + feature_distance(features, usual)
    assert found.mean().item() == pytest.approx(11.460932832332011, rel=1e-6)


def test_the_feature_distance_is_a_mean_over_dimensions_of_each_row() -> None:
    features, usual = made((3, 4), 1.0), made((4,), 2.0)
    found = feature_distance(features, usual)
    for i in range(3):
        squares = [float(features[i, d] - usual[d]) ** 2 for d in range(4)]
        assert found[i].item() == pytest.approx(sum(squares) / 4, rel=1e-5)
    assert torch.equal(feature_distance(usual[None].float(), usual.float()), torch.zeros(1))


# ---------------------------------------------------------------- the attack


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    """What both priors hold, turned up until images and answers differ visibly."""
    torch.manual_seed(0)
    made = {**SMALL_GAN.networks(PX, CLASSES), **SMALL_STUDENTS.networks(PX, CLASSES)}
    with torch.no_grad():
        made["generator"].project[0].weight.mul_(8)  # type: ignore[index,union-attr]
        made["generator"].grow[-2].weight.mul_(8)  # type: ignore[index,union-attr]
        made["statistics"].mean = torch.rand(3 * PX**2)
        for i in range(2):
            made[f"student{i}"].head.weight.mul_(20)  # type: ignore[union-attr,operator]
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
def target(networks: dict[str, nn.Module]) -> TargetModel:
    """A linear target on pixels, centred on the generator's images, so that all classes are near."""
    torch.manual_seed(1)
    head = nn.Linear(3 * PX**2, CLASSES)
    with torch.no_grad():
        usual = networks["generator"](torch.randn(256, LATENT_DIM)).flatten(1).mean(0)
        head.bias.copy_(-head.weight @ usual)
    return TargetModel([("pixels", nn.Flatten())], head, feature_dim=3 * PX**2, n_classes=CLASSES)


@pytest.fixture
def latents_seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Every latent batch the generator draws."""
    seen: list[Tensor] = []
    forward = Generator.forward

    def spy(self: Generator, latents: Tensor) -> Tensor:
        seen.append(latents.detach().clone())
        return forward(self, latents)

    monkeypatch.setattr(Generator, "forward", spy)
    return seen


def search(attack: Attack, target: TargetModel, inputs: Inputs, count: int) -> tuple[Tensor, int]:
    """Images of `count` reconstructions, and the queries they took."""
    handle = TargetHandle(target, Defense(), attack.access)
    task = Task(torch.arange(count) % CLASSES, torch.arange(count) // CLASSES, PX, 7, "cpu")
    return attack.reconstruct(handle, inputs, task).images, handle.queries


def test_the_search_is_that_of_gmi_with_the_new_loss_averaged_over_sixty(
    target: TargetModel,
    networks: dict[str, nn.Module],
    inputs_of: Callable[[Attack], Inputs],
    latents_seen: list[Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "CHUNK", 60)
    attack = LommaGmi(iterations=4, **SMALL)
    search(attack, target, inputs_of(attack), 60)
    walked, labels = latents_seen[:5], torch.arange(60) % CLASSES
    v = torch.zeros_like(walked[0])
    for before, after in pairwise(walked):
        z = before.clone().requires_grad_(True)
        image = networks["generator"](z)
        seen = target(image)
        answers = [seen.logits, networks["student0"](image), networks["student1"](image)]
        own = sum(F.nll_loss(answer, labels) for answer in answers) / 3
        usual = networks["statistics"].mean.expand(60, -1)  # type: ignore[operator]
        loss = -networks["critic"](image).mean() + 100 * (own + F.mse_loss(seen.features, usual))
        (g,) = torch.autograd.grad(loss, z)
        v_new = 0.9 * v - 0.02 * g
        wanted = (before - 0.9 * v + 1.9 * v_new).clamp(-1, 1)
        v = v_new
        assert ((wanted - before)[wanted.abs() < 1]).abs().mean() > 1e-3, "the step can be seen"
        # rounding may put one of 60 latents on the other side of a ReLU; a wrong formula would move them all
        assert int(((after - wanted).abs() > 1e-4).any(dim=1).sum()) <= 1


def test_without_its_two_parts_it_is_gmi(target: TargetModel, inputs_of: Callable[[Attack], Inputs]) -> None:
    plain = Gmi(iterations=5, prior=SMALL_GAN)
    baseline = LommaGmi(iterations=5, **{**ATTACKS.get("lomma_gmi").presets["baseline"], **SMALL})
    full = LommaGmi(iterations=5, **SMALL)
    images, queries = search(plain, target, inputs_of(plain), 10)
    same, same_queries = search(baseline, target, inputs_of(baseline), 10)
    other, other_queries = search(full, target, inputs_of(full), 10)
    assert torch.equal(images, same) and not torch.allclose(images, other, atol=1e-3)
    assert queries == same_queries == other_queries == 50, "students are no queries"


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
    attack = ATTACKS.remake(ATTACKS.choose(f"lomma_gmi:{preset}"))
    assert isinstance(attack, LommaGmi)
    assert (attack.logit_loss, attack.ensemble, attack.feature_weight) == parts
    assert ("students" in attack.priors) == students, "students are trained only where something looks at them"
    assert (attack.iterations, attack.batch_equivalent, attack.clamp) == (2400, 60, 1.0)
    assert (attack.learning_rate, attack.momentum, attack.identity_weight) == (0.02, 0.9, 100.0)


def test_every_part_changes_what_is_found(target: TargetModel, inputs_of: Callable[[Attack], Inputs]) -> None:
    found = []
    for preset in ("lomma", "baseline", "augmentation", "logit"):
        attack = LommaGmi(iterations=4, **{**ATTACKS.get("lomma_gmi").presets[preset], **SMALL})
        found.append(search(attack, target, inputs_of(attack), 5)[0].flatten(1))
    for i in range(4):
        for j in range(i):
            assert not torch.allclose(found[i], found[j], atol=1e-4), (i, j)


@pytest.mark.slow
def test_the_search_raises_the_mean_logit_and_the_regulariser_keeps_the_features_near(
    target: TargetModel, networks: dict[str, nn.Module], inputs_of: Callable[[Attack], Inputs]
) -> None:
    def ends(iterations: int, weight: float) -> tuple[float, float]:
        attack = LommaGmi(iterations=iterations, feature_weight=weight, **SMALL)
        images, _ = search(attack, target, inputs_of(attack), 20)
        with torch.no_grad():
            seen = target(images)
            answers = [seen.logits, networks["student0"](images), networks["student1"](images)]
            own = -class_loss(answers, torch.arange(20) % CLASSES, logit_loss=True).mean()
            far = feature_distance(seen.features, networks["statistics"].mean).mean()  # type: ignore[arg-type]
        return float(own), float(far)

    assert ends(1, 0.0)[0] < ends(10, 0.0)[0] < ends(40, 0.0)[0]
    assert ends(40, 0.0)[1] > ends(40, 1.0)[1] > ends(40, 30.0)[1]


def test_refuses_a_negative_weight() -> None:
    with pytest.raises(ValueError, match="needs feature_weight >= 0, got -1"):
        LommaGmi(feature_weight=-1.0)
    with pytest.raises(ValueError, match="needs batch_equivalent >= 1"):
        LommaGmi(batch_equivalent=0)
