"""GMI's search against the update rule of the specification, written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.attacks import Attack
from midef.attacks.base import Task
from midef.attacks.gmi import Gmi
from midef.attacks.latent_search import memory
from midef.attacks.priors.networks.dcgan import Generator, standard_latents
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, derive_seed
from midef.defenses import Defense
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel, freeze_

RESOLUTION_PX, CLASSES = 32, 5
GanInputs = Callable[[Attack], Inputs]


@pytest.fixture
def target(gan_networks: dict[str, nn.Module]) -> TargetModel:
    """Random weights; batch statistics of the generator's images, so that answers differ from image to image."""
    torch.manual_seed(1)
    model = ARCHITECTURES.make("vgg16_tiny").build(CLASSES, RESOLUTION_PX).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(gan_networks["generator"](torch.randn(256, 8)))
    freeze_(model)
    return model


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


def task_of(count: int) -> Task:
    return Task(torch.arange(count) % CLASSES, torch.arange(count) // CLASSES, RESOLUTION_PX, 7, "cpu")


def search(attack: Gmi, target: TargetModel, inputs: Inputs, count: int) -> Tensor:
    handle = TargetHandle(target, Defense(), attack.access)
    return attack.reconstruct(handle, inputs, task_of(count)).images


def by_hand(attack: Gmi, target: TargetModel, inputs: Inputs, path: list[Tensor], labels: Tensor) -> list[Tensor]:
    """Where each step should lead from the latents of `path`, with the loss as a mean over the whole batch.

    v_new = mu v - eta g;  z <- z - mu v + (1 + mu) v_new;  z clamped; the clamp does not touch v.
    """
    networks = attack.prior.load(inputs.path("prior"), RESOLUTION_PX, CLASSES, "cpu")
    mu, eta, v, ends = 0.9, 0.02, torch.zeros_like(path[0]), []
    for before in path:
        z = before.clone().requires_grad_(True)
        image = networks["generator"](z)
        loss = -networks["critic"](image).mean() + 100 * F.cross_entropy(target(image).logits, labels)
        (g,) = torch.autograd.grad(loss, z)
        v_new = mu * v - eta * g
        ends.append((before - mu * v + (1 + mu) * v_new).clamp(-1, 1))
        v = v_new
    return ends


def test_the_search_is_nesterov_then_clamp_with_the_loss_averaged_over_sixty(
    target: TargetModel,
    gan_inputs: GanInputs,
    small_gan: WganGp,
    latents_seen: list[Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "CHUNK", 60)
    attack = Gmi(iterations=5, prior=small_gan)
    inputs = gan_inputs(attack)
    search(attack, target, inputs, 60)
    walked = list(latents_seen)
    expected = by_hand(attack, target, inputs, walked[:-1], task_of(60).labels)
    assert len(walked) == 6
    for before, after, wanted in zip(walked[:-1], walked[1:], expected, strict=True):
        free = wanted.abs() < 1
        assert free.any() and (wanted - before)[free].abs().mean() > 1e-3, "the step can be seen"
        # rounding may put one of 60 latents on the other side of a ReLU; a wrong formula would move them all
        wrong = ((after - wanted).abs() > 1e-4).any(dim=1)
        assert int(wrong.sum()) <= 1


def test_the_first_forward_sees_the_unclamped_start_and_all_others_the_box(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, latents_seen: list[Tensor]
) -> None:
    attack = Gmi(iterations=3, prior=small_gan)
    task = task_of(10)
    search(attack, target, gan_inputs(attack), 10)
    first, *later = latents_seen
    seeds = [
        derive_seed("latent", task.seed, *pair)
        for pair in zip(task.labels.tolist(), task.restarts.tolist(), strict=True)
    ]
    assert torch.equal(first, standard_latents(seeds, 8))
    assert first.abs().max() > 1
    assert len(later) == 3 and all(latents.abs().max() <= 1 for latents in later)


def test_pieces_give_the_same_as_sixty_at_once(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = Gmi(iterations=5, prior=small_gan)
    inputs = gan_inputs(attack)
    whole = search(attack, target, inputs, 60)
    monkeypatch.setattr(memory, "CHUNK", 7)
    assert torch.allclose(search(attack, target, inputs, 60), whole, atol=1e-5)


@pytest.mark.slow
def test_more_iterations_make_the_target_surer(target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp) -> None:
    def confidence(iterations: int) -> float:
        attack = Gmi(iterations=iterations, prior=small_gan)
        images = search(attack, target, gan_inputs(attack), 20)
        with torch.no_grad():
            own = target(images).logits.softmax(1).gather(1, task_of(20).labels[:, None])
        return float(own.mean())

    few, some, many = confidence(1), confidence(10), confidence(40)
    assert few < some < many and many > few + 0.05, (few, some, many)


@pytest.mark.slow
def test_the_critic_pulls_towards_what_it_finds_real(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp
) -> None:
    """Without the identity term the search only follows the critic."""

    def realness(iterations: int) -> float:
        attack = Gmi(iterations=iterations, prior=small_gan, identity_weight=0.0, batch_equivalent=1)
        inputs = gan_inputs(attack)
        critic = small_gan.load(inputs.path("prior"), RESOLUTION_PX, CLASSES, "cpu")["critic"]
        images = search(attack, target, inputs, 20)
        with torch.no_grad():
            return float(critic(images).mean())

    assert realness(1) < realness(20) < realness(60)


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"clamp": 0.0}, {"batch_equivalent": 0}], ids=str)
def test_refuses_what_cannot_be_searched(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"needs (iterations|batch_equivalent) >= 1"):
        Gmi(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("preset", "iterations", "batch"),
    [("orig", 1500, 100), ("kedmi", 2400, 60), ("lomma", 2400, 60), ("bido", 2000, 60), ("tldmi", 3000, 60)],
)
def test_presets_are_the_published_settings(preset: str, iterations: int, batch: int) -> None:
    from midef.attacks import ATTACKS

    attack = ATTACKS.remake(ATTACKS.choose(f"gmi:{preset}"))
    assert isinstance(attack, Gmi)
    assert (attack.iterations, attack.batch_equivalent, attack.clamp) == (iterations, batch, 1.0)
    assert (attack.learning_rate, attack.momentum, attack.identity_weight) == (0.02, 0.9, 100.0)


def test_a_missing_prior_is_an_error(tmp_path: Path, target: TargetModel, small_gan: WganGp) -> None:
    attack = Gmi(iterations=1, prior=small_gan)
    with pytest.raises(KeyError, match="prior"):
        search(attack, target, Inputs({}, lambda recipe: tmp_path), 1)
