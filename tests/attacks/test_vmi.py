"""VMI's search against its formula, and the choice of its prior."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks import ATTACKS, Attack
from midef.attacks.base import Task
from midef.attacks.latent_search import memory
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.latent_search.template import Networks, Rows
from midef.attacks.priors.networks.style_gan2 import StyleGenerator
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.target_handle import TargetHandle
from midef.attacks.vmi import Vmi
from midef.core import Choice, Inputs, Recipe, SpecError, derive_seed
from midef.defenses import Defense
from midef.nn.network import Forward, TargetModel
from midef.testing.search import task_of

RESOLUTION_PX, CLASSES = 32, 4
STYLE = StyleGan2(latent_dim=6, channel_base=64, channel_max=8)
TARGET, PUBLIC = Recipe("target", "classifier"), Recipe("split", "synthetic_faces", {"resolution_px": RESOLUTION_PX})
GanInputs = Callable[[Attack], Inputs]


@pytest.fixture
def style_inputs(tmp_path: Path) -> Inputs:
    torch.manual_seed(0)
    for name, network in STYLE.networks(RESOLUTION_PX, 0).items():
        save_file(network.state_dict(), tmp_path / f"{name}.safetensors")
    return Inputs(Vmi(prior=STYLE).requires(target=TARGET, public=PUBLIC), lambda recipe: tmp_path)


class Watched(Vmi):
    """Keeps what it searched, before each step and at the end."""

    @override
    def step_loss(self, handle: TargetHandle, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        path.append([tensor.detach().clone() for tensor in searched])
        return super().step_loss(handle, networks, searched, rows)

    @override
    def final_latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        ends.append(searched)
        latents = super().final_latents(searched, rows)
        drawn.append(latents)
        return latents


path: list[list[Tensor]] = []
ends: list[list[Tensor]] = []
drawn: list[Tensor] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    path.clear()
    ends.clear()
    drawn.clear()


def search(attack: Vmi, target: TargetModel, inputs: Inputs, task: Task) -> Tensor:
    return attack.reconstruct(TargetHandle(target, Defense(), attack.access), inputs, task).images


def by_hand(attack: Vmi, target: TargetModel, generator: nn.Module, label: int, steps: int) -> tuple[Tensor, Tensor]:
    """Mean and triangle of one identity alone after so many steps of SGD with momentum on the loss of the paper.

    CE averaged over the batch + kl_weight * mean over layers of (-log|det L| - D/2 + E|s|^2 / 2) in its sampled form.
    """
    layers: int = generator.num_ws if isinstance(generator, StyleGenerator) else 1
    dim = attack.prior.latent_dim
    mean = torch.zeros(layers, dim, dtype=torch.float64)
    triangle = torch.eye(dim, dtype=torch.float64).repeat(layers, 1, 1)
    speed = [torch.zeros_like(mean), torch.zeros_like(triangle)]
    stream = RowStreams([derive_seed("latent", 7, label, -1)])
    for _ in range(steps):
        mean.requires_grad_(True)
        triangle.requires_grad_(True)
        loss = torch.zeros((), dtype=torch.float64)
        for _ in range(attack.batch):
            noise = stream.normal(layers, dim)[0].double()
            sample = torch.stack([mean[j] + triangle[j].tril() @ noise[j] for j in range(layers)])
            latents = sample.float()[None]
            image = generator(latents if layers > 1 else latents[:, 0])
            loss = loss + F.cross_entropy(target(image).logits, torch.tensor([label])).double() / attack.batch
            for j in range(layers):
                log_q = -torch.slogdet(triangle[j].tril()).logabsdet - noise[j] @ noise[j] / 2
                log_n = -sample[j] @ sample[j] / 2
                loss = loss + attack.kl_weight * (log_q - log_n) / layers / attack.batch
        slopes = torch.autograd.grad(loss, [mean, triangle])
        speed = [0.9 * v + g for v, g in zip(speed, slopes, strict=True)]
        mean, triangle = (
            mean.detach() - attack.learning_rate * speed[0],
            triangle.detach() - attack.learning_rate * speed[1],
        )
    return mean, triangle


def test_the_search_is_momentum_descent_of_the_loss_of_each_identity_alone_in_every_layer(
    target: TargetModel, style_inputs: Inputs
) -> None:
    attack = Watched(family="gauss", iterations=3, batch=4, learning_rate=0.05, kl_weight=0.1, prior=STYLE)
    search(attack, target, style_inputs, task_of([2, 0]))
    generator = STYLE.load(style_inputs.path("prior"), RESOLUTION_PX, 0, "cpu")["generator"]
    mean, triangle = ends[0]
    assert mean.shape == (2, 8, 6) and mean.abs().max() > 0.01
    for row, label in enumerate([2, 0]):
        wanted_mean, wanted_triangle = by_hand(attack, target, generator, label, 3)
        assert torch.allclose(mean[row], wanted_mean, atol=1e-6)
        assert torch.allclose(triangle[row].tril(), wanted_triangle.tril(), atol=1e-6)


def test_with_wgan_gp_there_is_one_layer(target: TargetModel, small_gan: WganGp, gan_inputs: GanInputs) -> None:
    attack = Watched(family="gauss", iterations=2, batch=4, learning_rate=0.05, kl_weight=0.1, prior=small_gan)
    inputs = gan_inputs(attack)
    search(attack, target, inputs, task_of([1]))
    generator = small_gan.load(inputs.path("prior"), RESOLUTION_PX, 0, "cpu")["generator"]
    wanted_mean, wanted_triangle = by_hand(attack, target, generator, 1, 2)
    assert ends[0][0].shape == (1, 1, 8)
    assert torch.allclose(ends[0][0][0], wanted_mean, atol=1e-6)
    assert torch.allclose(ends[0][1][0].tril(), wanted_triangle.tril(), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["flow", "gauss"])
def test_more_steps_make_the_target_surer(family: str, target: TargetModel, style_inputs: Inputs) -> None:
    def confidence(iterations: int) -> float:
        attack = Vmi(
            family=family,  # type: ignore[arg-type]
            iterations=iterations,
            batch=4,
            learning_rate=0.002 if family == "flow" else 0.1,
            levels=2,
            flow_steps=2,
            hidden=8,
            prior=STYLE,
        )
        task = task_of([0, 1, 2, 3], restarts=12)
        images = search(attack, target, style_inputs, task)
        with torch.no_grad():
            own = target(images).logits.softmax(1).gather(1, task.labels[:, None])
        return float(own.mean())

    few, many = confidence(1), confidence(30)
    assert many > few + 0.1, (few, many)


def test_a_distribution_that_left_the_numbers_in_its_last_step_gives_no_picture(
    target: TargetModel, style_inputs: Inputs
) -> None:
    attack = Vmi(prior=STYLE, iterations=1, batch=2, levels=2, flow_steps=2, hidden=4, learning_rate=1e38)
    assert search(attack, target, style_inputs, task_of([0, 1], restarts=2)).isnan().all()


def test_reconstructions_are_independent_samples_of_what_was_fitted(target: TargetModel, style_inputs: Inputs) -> None:
    attack = Watched(family="gauss", iterations=2, batch=2, learning_rate=0.5, prior=STYLE)
    search(attack, target, style_inputs, task_of([1, 3], restarts=150))
    latents = torch.cat(drawn)
    assert latents.shape == (300, 8, 6), "one latent for each layer of each reconstruction"
    assert all(len(part[0]) <= 2 for part in ends), "no more parameters at once than were searched"
    for label, rows in ((1, latents[:150]), (3, latents[150:])):
        own = next(p for p, task in zip(ends, range(len(ends)), strict=True) if (task >= 75) == (label == 3))
        mean, triangle = own[0][0].float(), own[1][0].tril().float()
        white = torch.linalg.solve_triangular(triangle, (rows - mean).permute(1, 2, 0), upper=False)
        assert white.mean(dim=2).abs().max() < 0.4 and abs(float(white.std()) - 1) < 0.05
    assert len(latents.flatten(1).unique(dim=0)) == 300


def test_a_chunk_holds_as_many_images_as_that_of_other_attacks(
    target: TargetModel, style_inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CHUNK", 9)
    attack = Watched(family="gauss", iterations=1, batch=4, prior=STYLE)
    search(attack, target, style_inputs, task_of([0, 1, 2, 3]))
    assert [len(step[0]) for step in path] == [2, 2]


def test_the_loss_of_an_identity_is_the_mean_of_its_own_images() -> None:
    attack = Vmi(batch=3, prior=STYLE)
    logits = torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(0))
    losses = attack.identity_loss({}, [Forward(logits, logits, {})], torch.tensor([1, 2]))
    each = [-logits[i].log_softmax(0)[1 if i < 3 else 2] for i in range(6)]
    assert torch.allclose(losses, torch.stack([sum(each[:3]) / 3, sum(each[3:]) / 3]))  # type: ignore[list-item]


def test_every_image_of_a_step_is_erased_at_a_place_of_its_own(target: TargetModel, style_inputs: Inputs) -> None:
    seen: list[Tensor] = []
    target.register_forward_hook(lambda module, given, answer: seen.append(given[0].detach().clone()))
    attack = Vmi(family="gauss", iterations=1, batch=4, erase_low=0.1, erase_high=0.2, prior=STYLE)
    search(attack, target, style_inputs, task_of([0, 1]))
    fill = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    masks = (seen[0] - fill).abs().amax(dim=1) < 1e-6
    assert masks.shape == (8, RESOLUTION_PX, RESOLUTION_PX)
    assert ((masks.float().mean(dim=(1, 2)) > 0.08) & (masks.float().mean(dim=(1, 2)) < 0.22)).all()
    assert len(masks.flatten(1).unique(dim=0)) == 8


# ---------------------------------------------------------------- the choice of the prior


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, StyleGan2),
        ({"prior": {}}, StyleGan2),
        ({"prior": {"steps": 10, "latent_dim": 16, "batch_size": 8, "learning_rate": 0.001, "seed": 2}}, StyleGan2),
        ({"prior": {"channel_max": 16}}, StyleGan2),
        ({"prior": {"steps": 10, "r1": 0.1}}, StyleGan2),
        ({"prior": {"width": 8}}, WganGp),
        ({"prior": {"steps": 10, "latent_dim": 16, "objective": "non_saturating"}}, WganGp),
        ({"prior": {"critic_steps": 1, "steps": 10, "batch_size": 8}}, WganGp),
    ],
    ids=str,
)
def test_fields_tell_which_prior_is_meant(given: dict[str, Any], kind: type) -> None:
    attack = ATTACKS.make("vmi", given)
    assert isinstance(attack, Vmi) and type(attack.prior) is kind
    for name, value in given.get("prior", {}).items():
        assert getattr(attack.prior, name) == value


@pytest.mark.parametrize("prior", [STYLE, StyleGan2(), WganGp(), WganGp(objective="non_saturating")], ids=str)
def test_either_prior_comes_back_through_json(prior: StyleGan2 | WganGp) -> None:
    attack = Vmi(prior=prior)
    choice = ATTACKS.describe(attack)
    again = ATTACKS.remake(Choice.from_plain(json.loads(choice.keyed_json)))
    assert again == attack and isinstance(again, Vmi) and type(again.prior) is type(prior)
    assert again.requires(target=TARGET, public=PUBLIC)["prior"].component == (
        "style_gan2" if isinstance(prior, StyleGan2) else "wgan_gp"
    )


def test_the_two_priors_have_different_keys() -> None:
    attacks = [Vmi(prior=StyleGan2(latent_dim=64)), Vmi(prior=WganGp(latent_dim=64))]
    assert len({ATTACKS.describe(attack).keyed_json for attack in attacks}) == 2
    assert len({attack.requires(target=TARGET, public=PUBLIC)["prior"].key for attack in attacks}) == 2


def test_fields_of_both_priors_at_once_are_refused() -> None:
    with pytest.raises(SpecError, match="channel_max"):
        ATTACKS.make("vmi", {"prior": {"width": 8, "channel_max": 16}})


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("preset", "steps", "batch"),
    [("orig", 3140, 64), ("bido", 320, 32), ("tldmi", 320, 32)],
    ids=["orig", "bido", "tldmi"],
)
def test_presets_are_the_published_settings(preset: str, steps: int, batch: int) -> None:
    attack = ATTACKS.remake(ATTACKS.choose(f"vmi:{preset}"))
    assert isinstance(attack, Vmi)
    assert (attack.iterations, attack.batch) == (steps, batch)
    assert (attack.learning_rate, attack.momentum, attack.kl_weight) == (1e-4, 0.9, 1e-3)
    assert (attack.family, attack.levels, attack.flow_steps, attack.hidden) == ("flow", 3, 10, 100)


def test_the_gaussian_family_shows_in_the_label() -> None:
    assert ATTACKS.choose("vmi(family=gauss)").label == "vmi(family=gauss)"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"batch": 0}, "needs batch >= 1"),
        ({"levels": 0}, "needs levels >= 1"),
        ({"momentum": 1.0}, "momentum < 1"),
        ({"kl_weight": -1.0}, "kl_weight >= 0"),
        (
            {"prior": StyleGan2(latent_dim=4)},
            "more than 4 latent dimensions for 3 levels, the prior has 4; lower levels",
        ),
    ],
    ids=["batch", "levels", "momentum", "kl_weight", "latent_dim"],
)
def test_refuses_what_cannot_be_searched(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Vmi(**wrong)
