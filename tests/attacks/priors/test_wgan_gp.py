"""The GAN's losses from their formula, and that it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from midef.attacks.priors.base import FitContext
from midef.attacks.priors.wgan_gp import WganGp
from midef.core import Inputs
from midef.datasets import Images, Splits
from midef.training.generative.gan import gradient_penalty


class Tilted(nn.Module):
    """A critic with a known slope: the sum of w * x^2 / 2, so the gradient at x is w * x."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, images: Tensor) -> Tensor:
        return (self.weight * images.pow(2) / 2).flatten(1).sum(1)


def test_the_penalty_is_the_formula_at_the_mixed_images() -> None:
    rng = torch.Generator().manual_seed(0)
    real, fake, mix = (torch.rand(shape, generator=rng) for shape in [(4, 3, 5, 5), (4, 3, 5, 5), (4, 1, 1, 1)])
    weight = torch.rand(3, 5, 5, generator=rng)
    expected = 0.0
    for i in range(4):
        at = (1 - mix[i]) * real[i] + mix[i] * fake[i]
        expected += float(((weight * at).pow(2).sum().sqrt() - 1) ** 2) / 4
    assert gradient_penalty(Tilted(weight), real, fake, mix).item() == pytest.approx(expected, rel=1e-5)


def public(side: str) -> Splits:
    """Images that are bright on one side and dark on the other."""
    images = torch.full((8, 3, 16, 16), 25, dtype=torch.uint8)
    images[:, :, :, slice(8) if side == "left" else slice(8, 16)] = 230
    part = Images(images, torch.full((8,), -1))
    return Splits(part, part, part, ())


def trained(prior: WganGp, side: str = "left") -> dict[str, nn.Module]:
    torch.manual_seed(0)
    networks = prior.networks(16, 0)
    prior.fit(networks, public(side), FitContext(inputs=Inputs({}, Path)))
    return networks


def test_the_generator_steps_once_after_every_fifth_critic_step() -> None:
    def project(steps: int) -> Tensor:
        weight: Tensor = (
            trained(WganGp(width=4, latent_dim=4, steps=steps, batch_size=4))["generator"].project[0].weight
        )  # type: ignore[index,union-attr]
        return weight.detach()

    untouched = project(4)
    torch.manual_seed(0)
    fresh = WganGp(width=4, latent_dim=4).networks(16, 0)["generator"].project[0].weight  # type: ignore[index,union-attr]
    assert torch.equal(untouched, fresh)  # type: ignore[arg-type]
    assert not torch.equal(project(5), untouched) and torch.equal(project(9), project(5))


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right"])
def test_it_learns_where_its_images_are_bright(side: str) -> None:
    prior = WganGp(width=4, latent_dim=4, steps=100, batch_size=8, critic_steps=1, learning_rate=2e-3)
    generator = trained(prior, side)["generator"].eval()
    with torch.no_grad():
        images = generator(torch.randn(32, 4))
    left, right = float(images[..., :8].mean()), float(images[..., 8:].mean())
    assert (left - right if side == "left" else right - left) > 0.2


def test_training_repeats_with_its_seed_and_not_with_another() -> None:
    def weights(seed: int) -> Tensor:
        networks = trained(WganGp(width=4, latent_dim=4, steps=5, batch_size=4, seed=seed))
        return torch.cat([p.detach().flatten() for p in networks["generator"].parameters()])

    assert torch.equal(weights(0), weights(0)) and not torch.equal(weights(0), weights(1))
