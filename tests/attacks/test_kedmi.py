"""KedMI's search against its formulas, written out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from midef.attacks import ATTACKS
from midef.attacks.base import Task
from midef.attacks.kedmi import Kedmi
from midef.attacks.latent_search import memory
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.priors.kedmi_gan import KedmiGan
from midef.attacks.priors.networks.dcgan import Generator
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, Recipe, derive_seed
from midef.defenses import Defense
from midef.nn.network import TargetModel, freeze_

PX, CLASSES, LATENT_DIM, SEED = 16, 5, 6, 7
SMALL = KedmiGan(width=2, latent_dim=LATENT_DIM)


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    """Generator and discriminator, turned up until images and logits differ visibly."""
    torch.manual_seed(0)
    made = SMALL.networks(PX, CLASSES)
    with torch.no_grad():
        made["generator"].project[0].weight.mul_(8)  # type: ignore[index,union-attr]
        made["generator"].grow[-2].weight.mul_(8)  # type: ignore[index,union-attr]
    for network in made.values():
        freeze_(network)
    return made


@pytest.fixture
def inputs(tmp_path: Path, networks: dict[str, nn.Module]) -> Inputs:
    for name, network in networks.items():
        save_file(dict(network.state_dict()), tmp_path / f"{name}.safetensors")
    recipes = Kedmi(prior=SMALL).requires(
        target=Recipe("target", "classifier"), public=Recipe("split", "faces", {"resolution_px": 32})
    )
    return Inputs(recipes, lambda recipe: tmp_path)


@pytest.fixture
def target(networks: dict[str, nn.Module]) -> TargetModel:
    """A linear target on pixels, centred on the generator's images, so that all classes are near."""
    torch.manual_seed(1)
    head = nn.Linear(3 * PX**2, CLASSES)
    with torch.no_grad():
        usual = networks["generator"](torch.randn(256, LATENT_DIM)).flatten(1).mean(0)
        head.weight.mul_(5)
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


def task_of(identities: int, restarts: int = 1) -> Task:
    pairs = torch.tensor([(label, restart) for label in range(identities) for restart in range(restarts)])
    return Task(pairs[:, 0], pairs[:, 1], PX, SEED, "cpu")


def search(attack: Kedmi, target: TargetModel, inputs: Inputs, task: Task) -> Tensor:
    return attack.reconstruct(TargetHandle(target, Defense(), attack.access), inputs, task).images


def noise_of(purpose: str, label: int, restart: int) -> RowStreams:
    return RowStreams([derive_seed(purpose, SEED, label, restart)])


def by_hand(
    networks: dict[str, nn.Module], target: TargetModel, *, steps: int, weight: float, logvar0: float, clamp: bool
) -> tuple[Tensor, Tensor]:
    """Mean and log variance of each identity after `steps`, from the losses as the papers write them: batch means.

    Adam is written out, too: m <- .9 m + .1 g; v <- .999 v + .001 g^2; p <- p - .02 (m / (1 - .9^t)) / (sqrt(v / (1 -
    .999^t)) + 1e-8).
    """
    streams = [noise_of("latent", label, -1) for label in range(CLASSES)]
    labels = torch.arange(CLASSES)
    searched = torch.stack([torch.zeros(CLASSES, LATENT_DIM), torch.full((CLASSES, LATENT_DIM), logvar0)])
    m, v = torch.zeros_like(searched), torch.zeros_like(searched)
    for t in range(1, steps + 1):
        given = searched.clone().requires_grad_(True)
        eps = torch.cat([stream.normal(LATENT_DIM) for stream in streams])
        z = given[0] + torch.exp(0.5 * given[1]) * eps
        image = networks["generator"](z.clamp(-1, 1) if clamp else z)
        lse = networks["discriminator"](image)[1].logsumexp(dim=1)
        prior = F.softplus(lse).mean() - lse.mean()
        (g,) = torch.autograd.grad(prior + weight * F.cross_entropy(target(image).logits, labels), given)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g.square()
        searched = searched - 0.02 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return searched[0], searched[1]


@pytest.mark.parametrize(
    ("weight", "logvar0", "clamp"), [(100.0, 1.0, False), (0.01, 0.0, False), (100.0, 1.0, True)], ids=str
)
def test_the_search_is_adam_on_one_gaussian_per_identity(
    target: TargetModel,
    networks: dict[str, nn.Module],
    inputs: Inputs,
    latents_seen: list[Tensor],
    weight: float,
    logvar0: float,
    clamp: bool,
) -> None:
    attack = Kedmi(iterations=8, identity_weight=weight, logvar0=logvar0, clamp_before_generator=clamp, prior=SMALL)
    search(attack, target, inputs, task_of(CLASSES, restarts=2))
    walked, final = latents_seen[:8], torch.cat(latents_seen[8:])
    mean, logvar = by_hand(networks, target, steps=8, weight=weight, logvar0=logvar0, clamp=clamp)
    assert [len(latents) for latents in walked] == [CLASSES] * 8, "restarts are not searched for"
    assert (mean.abs() > 0.05).any() and ((logvar - logvar0).abs() > 0.05).any(), "the search moved"
    expected = []
    for label in range(CLASSES):
        for restart in range(2):
            eps = noise_of("sample", label, restart).normal(LATENT_DIM)[0]
            z = mean[label] + torch.exp(0.5 * logvar[label]) * eps
            expected.append(z.clamp(-1, 1) if clamp else z)
    assert torch.allclose(final, torch.stack(expected), atol=1e-3)


def test_every_step_draws_anew_from_the_start(target: TargetModel, inputs: Inputs, latents_seen: list[Tensor]) -> None:
    """With a step of nearly nothing, what is drawn stays the Gaussian of the start."""
    for logvar0, deviation in ((1.0, math.exp(0.5)), (0.0, 1.0)):
        latents_seen.clear()
        attack = Kedmi(iterations=150, learning_rate=1e-9, logvar0=logvar0, prior=SMALL)
        search(attack, target, inputs, task_of(2, restarts=60))
        drawn = torch.stack(latents_seen[:150])
        assert drawn.std().item() == pytest.approx(deviation, rel=0.06) and drawn.mean().abs() < 0.15
        assert len(drawn.flatten(0, 1).unique(dim=0)) == 300
        final = torch.cat(latents_seen[150:])
        assert final.shape == (120, LATENT_DIM) and final.std().item() == pytest.approx(deviation, rel=0.1)


def test_latents_are_clamped_before_the_generator_or_not_at_all(
    target: TargetModel, inputs: Inputs, latents_seen: list[Tensor]
) -> None:
    for clamp in (False, True):
        latents_seen.clear()
        attack = Kedmi(iterations=4, clamp_before_generator=clamp, prior=SMALL)
        search(attack, target, inputs, task_of(CLASSES, restarts=3))
        largest = [float(latents.abs().max()) for latents in latents_seen]
        assert len(largest) >= 5, "four steps and what is drawn at the end"
        assert all(x == 1 for x in largest) if clamp else all(x > 1.5 for x in largest)


def test_restarts_share_the_search_and_one_does_not_depend_on_the_others(target: TargetModel, inputs: Inputs) -> None:
    attack = Kedmi(iterations=5, prior=SMALL)
    handle = TargetHandle(target, Defense(), attack.access)
    few = attack.reconstruct(handle, inputs, task_of(3, restarts=2)).images
    assert handle.queries == 5 * 3
    many = search(attack, target, inputs, task_of(3, restarts=4))
    assert torch.allclose(few.view(3, 2, -1), many.view(3, 4, -1)[:, :2], atol=1e-5)
    assert len(many.flatten(1).unique(dim=0)) == 12


def test_pieces_give_the_same_as_all_at_once(
    target: TargetModel, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = Kedmi(iterations=6, prior=SMALL)
    whole = search(attack, target, inputs, task_of(CLASSES, restarts=2))
    monkeypatch.setattr(memory, "CHUNK", 2)
    assert torch.allclose(search(attack, target, inputs, task_of(CLASSES, restarts=2)), whole, atol=1e-4)


def test_the_identity_loss_of_a_row_is_its_own(target: TargetModel) -> None:
    labels = torch.tensor([2, 0, 4])
    seen = target(torch.rand(3, 3, PX, PX, generator=torch.Generator().manual_seed(0)))
    found = Kedmi(identity_weight=50.0, prior=SMALL).identity_loss({}, [seen], labels)
    for i, y in enumerate(labels.tolist()):
        assert found[i].item() == pytest.approx(-50 * seen.logits[i].log_softmax(0)[y].item(), rel=1e-4)


def test_the_prior_term_of_an_image_does_not_depend_on_the_others(inputs: Inputs) -> None:
    """Even copies of one image, which minibatch discrimination would see, are judged one by one."""
    attack = Kedmi(prior=SMALL)
    loaded = SMALL.load(inputs.path("prior"), PX, CLASSES, "cpu")
    one = torch.rand(1, 3, PX, PX, generator=torch.Generator().manual_seed(0))
    alone = attack.prior_loss(loaded, one)
    copies = attack.prior_loss(loaded, torch.cat([one.expand(9, -1, -1, -1), torch.zeros(3, 3, PX, PX)]))
    assert alone is not None and copies is not None and copies.shape == (12,)
    assert torch.allclose(copies[:9], alone.expand(9), atol=1e-5)


def test_more_iterations_make_the_target_surer(target: TargetModel, inputs: Inputs) -> None:
    def confidence(iterations: int) -> float:
        task = task_of(CLASSES, restarts=20)
        images = search(Kedmi(iterations=iterations, prior=SMALL), target, inputs, task)
        with torch.no_grad():
            own = target(images).logits.softmax(1).gather(1, task.labels[:, None])
        return float(own.mean())

    few, some, many = confidence(1), confidence(30), confidence(90)
    assert few + 0.02 < some < many, (few, some, many)


def test_the_discriminator_pulls_towards_what_it_finds_real(
    target: TargetModel, networks: dict[str, nn.Module], inputs: Inputs
) -> None:
    """Without the identity term the search only follows the discriminator."""

    def realness(iterations: int) -> float:
        attack = Kedmi(iterations=iterations, identity_weight=0.0, prior=SMALL)
        images = search(attack, target, inputs, task_of(CLASSES, restarts=20))
        with torch.no_grad():
            return float(networks["discriminator"](images)[1].logsumexp(dim=1).mean())

    assert realness(1) < realness(30) < realness(90)


@pytest.mark.parametrize(
    ("preset", "iterations", "logvar0"),
    [("orig", 1500, 1.0), ("kedmi", 2400, 1.0), ("lomma", 2400, 1.0), ("bido", 5000, 0.0), ("tldmi", 3000, 0.0)],
)
def test_presets_are_the_published_settings(preset: str, iterations: int, logvar0: float) -> None:
    attack = ATTACKS.remake(ATTACKS.choose(f"kedmi:{preset}"))
    assert isinstance(attack, Kedmi)
    assert (attack.iterations, attack.logvar0) == (iterations, logvar0)
    assert attack.clamp_before_generator == (preset in ("lomma", "tldmi"))
    assert (attack.prior.label_mode, attack.prior.steps) == ("train", (100 if preset == "bido" else 120) * 468)
    assert (attack.learning_rate, attack.identity_weight) == (0.02, 100.0)


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"learning_rate": 0.0}, {"identity_weight": -1.0}], ids=str)
def test_refuses_what_cannot_be_searched(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"needs .*{next(iter(wrong))}"):
        Kedmi(**wrong)
