"""The acceptance checks (a) to (h) of the 64-pixel attacks.

(c), CelebA's split, is in tests/datasets: its labels on the real annotations only where these are present.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from midef.attacks import ATTACKS
from midef.attacks.base import Task
from midef.attacks.brep_mi import sphere_points
from midef.attacks.latent_search.conditional import max_margin
from midef.attacks.priors.networks.dcgan import Critic, Generator
from midef.attacks.priors.networks.kedmi import MinibatchDiscriminator
from midef.attacks.priors.networks.students import build_student
from midef.models import ARCHITECTURES
from midef.nn.answers import score_features
from midef.nn.inversion import TransposedCnn
from midef.nn.network import count_parameters
from midef.training.generative.kedmi import reality_loss


@pytest.mark.parametrize(
    ("name", "resolution_px", "parameters"),
    [
        ("vgg16", 64, 16_776_232),
        ("facenet64", 64, 35_437_224),
        ("ir152", 64, 62_599_848),
        ("facenet112", 112, 44_087_976),
    ],
)
def test_a_classifiers_have_the_published_sizes(name: str, resolution_px: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(ARCHITECTURES.make(name).build(1000, resolution_px)) == parameters


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (lambda: Generator(100, 64, 64), 5_142_083),
        (lambda: Critic(64, 64), 4_316_545),
        (lambda: MinibatchDiscriminator(1000, 64, 64), 18_888_936),
    ],
    ids=["generator", "critic", "minibatch discriminator"],
)
def test_a_gans_have_the_published_sizes(network: Any, parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(network()) == parameters


def test_b_gmis_step_is_nesterovs() -> None:
    """v' = mu v - eta g; z <- z - mu v + (1 + mu) v'."""
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    searched = z.clone().requires_grad_(True)
    optimizer = ATTACKS.make("gmi").optimizer([searched])  # type: ignore[attr-defined]
    v, mu, eta = torch.zeros_like(z), 0.9, 0.02
    for step in range(6):
        g = torch.randn(3, 5, generator=torch.Generator().manual_seed(step))
        searched.grad = g.clone()
        optimizer.step()
        later = mu * v - eta * g
        z, v = z - mu * v + (1 + mu) * later, later
        assert torch.allclose(searched, z, atol=1e-6)


@pytest.mark.parametrize(("inside", "grows"), [(29, True), (28, False)])
def test_d_a_sphere_grows_from_29_of_32_inside(inside: int, grows: bool) -> None:
    """One iteration of the loop; the moved latent stays inside."""
    attack: Any = ATTACKS.make("brep_mi", {"patience": 1})

    def ask(latents: Tensor) -> Tensor:
        return (torch.arange(len(latents)) < (1 if len(latents) == 1 else inside)).long()

    task = Task(torch.tensor([1]), torch.tensor([0]), 64, 0, "cpu")
    outside_later = iter([ask, *[lambda latents: (torch.arange(len(latents)) < 1).long()] * 99])
    _, grew = attack.repel(
        lambda latents: next(outside_later)(latents) if len(latents) > 1 else ask(latents),
        torch.zeros(1, attack.prior.latent_dim),
        torch.tensor([True]),
        task,
    )
    assert bool(grew[0]) == grows


def test_e_the_prior_term_of_kedmi_is_log_two_where_real_and_drawn_are_equally_likely() -> None:
    logits = torch.tensor([[math.log(0.25)] * 4, [math.log(0.5), math.log(0.5), -math.inf, -math.inf]])
    assert reality_loss(logits).tolist() == pytest.approx([math.log(2)] * 2)


def test_f_the_margin_pulls_the_label_up_and_the_runner_up_down() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 0.0], [5.0, 1.0, 2.0, 4.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(max_margin(logits, torch.tensor([0, 0])).mean(), logits)
    assert torch.equal(slope * 2, torch.tensor([[-1.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 1.0]]))


@pytest.mark.parametrize("top", [1, 3, None])
def test_g_features_of_scores_are_not_negative_and_zero_outside_the_kept(top: int | None) -> None:
    scores = (20 * torch.randn(40, 9, generator=torch.Generator().manual_seed(1))).softmax(1)
    scores[0] = nn.functional.one_hot(torch.tensor(4), 9).float()
    features = score_features(scores, top=top)
    assert (features >= 0).all()
    if top is not None:
        kept = torch.zeros_like(scores).scatter(1, scores.topk(top, dim=1).indices, 1.0).bool()
        assert (features[~kept] == 0).all()


@pytest.mark.parametrize("radius", [0.5, 2.0, 2.6])
def test_h_points_of_a_sphere_have_its_radius(radius: float) -> None:
    points = radius * sphere_points([torch.Generator().manual_seed(0)], 32, 100)[0]
    assert torch.allclose(points.norm(dim=1), torch.tensor(radius), rtol=1e-5)


# ---------------------------------------------------------------- work

count_macs: Callable[..., int] = run_path(str(Path(__file__).parents[1] / "models" / "macs.py"))["count_macs"]

WORK = {
    "generator": (lambda: Generator(100, 64, 64), (1, 100), 0.163, 3),
    "critic": (lambda: Critic(64, 64), (1, 3, 64, 64), 0.162, 3),
    "inversion network": (lambda: TransposedCnn(1000, 64, 128), (1, 1000), 0.43, 2),
    "efficientnet_b0": (lambda: build_student("efficientnet", 0, 64, 1000), (1, 3, 64, 64), 0.03, 2),
    "efficientnet_b1": (lambda: build_student("efficientnet", 1, 64, 1000), (1, 3, 64, 64), 0.05, 2),
    "efficientnet_b2": (lambda: build_student("efficientnet", 2, 64, 1000), (1, 3, 64, 64), 0.06, 2),
    "densenet121": (lambda: build_student("densenet", 0, 64, 1000), (1, 3, 64, 64), 0.23, 2),
    "densenet161": (lambda: build_student("densenet", 1, 64, 1000), (1, 3, 64, 64), 0.64, 2),
    "densenet169": (lambda: build_student("densenet", 2, 64, 1000), (1, 3, 64, 64), 0.28, 2),
}
"""Network, shape of its input, published GMAC, their digits. Other networks are counted in priors/."""


@pytest.mark.parametrize("name", WORK)
def test_networks_do_the_work_they_should(name: str) -> None:
    build, shape, expected, digits = WORK[name]
    with torch.device("meta"):
        network, given = build().eval(), torch.empty(shape)  # type: ignore[no-untyped-call]
        assert round(count_macs(network, given) / 1e9, digits) == pytest.approx(expected, abs=1.01 * 10**-digits)
