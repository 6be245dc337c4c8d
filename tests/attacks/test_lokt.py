"""LOKT's search against its formula, written out by hand; who is asked, and who looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks import ATTACKS
from midef.attacks.base import Task
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.latent_search.views import VIEW_DRAWS, slightly_changed
from midef.attacks.lokt import Lokt
from midef.attacks.priors.lokt_surrogates import LoktSurrogates
from midef.attacks.priors.networks.dcgan import standard_latents
from midef.attacks.priors.t_acgan import TAcgan
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, Recipe, derive_seed
from midef.defenses import Defense
from midef.nn.network import TargetModel

PX, CLASSES, LATENT_DIM, SEED = 16, 4, 6, 7
GAN = TAcgan(width=4, latent_dim=LATENT_DIM)
SURROGATES = LoktSurrogates(family="cnn_tiny", count=2, weights="none", gan=GAN)
LABELS, RESTARTS = [0, 1, 2, 3, 1], [0, 0, 0, 0, 1]


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """Random weights, turned up until images and answers differ visibly."""
    torch.manual_seed(0)
    made = {**GAN.networks(PX, CLASSES), **SURROGATES.networks(PX, CLASSES)}
    with torch.no_grad():
        latents, labels = torch.randn(64, LATENT_DIM), torch.arange(64) % CLASSES
        made["generator"].get_parameter("project.weight").mul_(4)
        made["generator"].get_parameter("colour.weight").mul_(3)
        made["generator"].get_parameter("colour.bias").fill_(0.5)
        for _ in range(20):  # running statistics
            images = made["generator"](latents, labels).clamp(0, 1)
            for name in ("surrogate0", "surrogate1"):
                made[name](images)
        for name in ("surrogate0", "surrogate1"):
            made[name].get_parameter("head.weight").mul_(20)
        made["discriminator"](images)
    return {name: network.eval().requires_grad_(False) for name, network in made.items()}


@pytest.fixture(scope="module")
def folder(networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lokt")
    for name, network in networks.items():
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path / f"{name}.safetensors")
    return path


def task_of(labels: list[int] = LABELS, restarts: list[int] = RESTARTS) -> Task:
    return Task(torch.tensor(labels), torch.tensor(restarts), PX, SEED, "cpu")


@pytest.fixture
def target() -> TargetModel:
    """A target nobody may look at."""

    class Silent(nn.Module):
        @override
        def forward(self, images: Tensor) -> Tensor:
            raise AssertionError("the search asked the target")

    return TargetModel([("see", Silent())], nn.Linear(1, CLASSES), feature_dim=1, n_classes=CLASSES)


def search(attack: Lokt, target: TargetModel, folder: Path, task: Task) -> Tensor:
    handle = TargetHandle(target, Defense(), attack.access)
    recipes = attack.requires(
        target=Recipe("target", "classifier"), public=Recipe("split", "synthetic_faces", {"resolution_px": 32})
    )
    found = attack.reconstruct(handle, Inputs(recipes, lambda recipe: folder), task)
    assert handle.queries == 0
    return found.images


def margins(logits: Tensor, label: int) -> Tensor:
    others = [logits[k] for k in range(CLASSES) if k != label]
    return torch.stack(others).max() - logits[label]


def by_hand(networks: dict[str, nn.Module], who: list[str], iterations: int) -> Tensor:
    """Each row on its own: mean over surrogates of the max-margin losses of two views, summed; Adam at 0.1 by its rule.

    m <- .9 m + .1 g; v <- .999 v + .001 g^2; z <- z - .1 (m / (1 - .9^t)) / (sqrt(v / (1 - .999^t)) + 1e-8).
    """
    drawn = []
    for label, restart in zip(LABELS, RESTARTS, strict=True):
        seed = derive_seed("latent", SEED, label, restart)
        stream, z = RowStreams([seed]), standard_latents([seed], LATENT_DIM)
        m, v = torch.zeros_like(z), torch.zeros_like(z)
        for t in range(1, iterations + 1):
            z = z.requires_grad_(True)
            image = networks["generator"](z, torch.tensor([label])).clamp(0, 1)
            views = [slightly_changed(image, stream.uniform(VIEW_DRAWS), jitter_p=1.0) for _ in range(2)]
            loss = torch.zeros(())
            for name in who:
                for view in views:
                    answer = networks[name](view)
                    logits = answer[1] if name == "discriminator" else answer
                    loss = loss + margins(logits[0], label) / len(who)
            (g,) = torch.autograd.grad(loss, z)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            z = (z - 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)).detach()
        drawn.append(networks["generator"](z, torch.tensor([label])).clamp(0, 1)[0])
    return torch.stack(drawn)


@pytest.mark.parametrize(
    ("surrogate", "who"), [("ensemble", ["surrogate0", "surrogate1"]), ("discriminator", ["discriminator"])]
)
def test_the_search_is_adam_on_two_views_averaged_over_who_looks(
    surrogate: Any, who: list[str], networks: dict[str, nn.Module], folder: Path, target: TargetModel
) -> None:
    attack = Lokt(iterations=4, surrogate=surrogate, surrogates=SURROGATES)
    found = search(attack, target, folder, task_of())
    assert torch.allclose(found, by_hand(networks, who, 4), atol=2e-3)
    assert (found - by_hand(networks, who, 0)).abs().amax(dim=(1, 2, 3)).min() > 0.01, "the steps can be seen"


def test_more_iterations_make_the_surrogates_surer(
    networks: dict[str, nn.Module], folder: Path, target: TargetModel
) -> None:
    def margin(iterations: int) -> float:
        images = search(Lokt(iterations=iterations, surrogates=SURROGATES), target, folder, task_of())
        with torch.no_grad():
            answers = [networks[name](images) for name in ("surrogate0", "surrogate1")]
        each = [margins(row, label) for answer in answers for row, label in zip(answer, LABELS, strict=True)]
        return float(torch.stack(each).mean())

    assert margin(1) > margin(8) > margin(25)


def test_a_row_does_not_depend_on_the_others(folder: Path, target: TargetModel) -> None:
    attack = Lokt(iterations=4, surrogates=SURROGATES)
    whole = search(attack, target, folder, task_of())
    some = search(attack, target, folder, task_of([1, 3], [1, 0]))
    assert torch.allclose(some, whole[[4, 3]], atol=1e-4)
    assert not torch.allclose(whole[1], whole[4], atol=1e-2), "a restart starts elsewhere"


def test_the_discriminator_alone_needs_no_surrogates() -> None:
    target, public = Recipe("target", "classifier"), Recipe("split", "synthetic_faces", {"resolution_px": 32})
    both = Lokt(surrogates=SURROGATES).requires(target=target, public=public)
    alone = Lokt(surrogate="discriminator", surrogates=SURROGATES).requires(target=target, public=public)
    assert {recipe.component for recipe in both.values()} == {"t_acgan", "lokt_surrogates"}
    assert {recipe.component for recipe in alone.values()} == {"t_acgan"}
    assert both["surrogates"].inputs["gan"] == both["prior"] == alone["prior"], "one GAN serves both"


def test_defaults_are_the_published_ones() -> None:
    attack = ATTACKS.remake(ATTACKS.choose("lokt:orig"))
    assert isinstance(attack, Lokt)
    assert (attack.iterations, attack.learning_rate, attack.surrogate) == (600, 0.1, "ensemble")
    assert attack.surrogates == LoktSurrogates()
    other = ATTACKS.remake(ATTACKS.choose("lokt:discriminator"))
    assert isinstance(other, Lokt) and other.surrogate == "discriminator"
