from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from midef.core.errors import TrainingDiverged
from midef.training.generative.gan import GanSettings, fit_gan, gradient_penalty
from midef.training.generative.loop import TrainingRun


class Linear(nn.Module):
    """A critic with the same slope everywhere."""

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.slope = nn.Parameter(slope)

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.slope).sum(dim=(1, 2, 3))


@pytest.mark.parametrize("length", [0.0, 0.3, 1.0, 4.0])
def test_penalty_of_a_linear_critic_has_a_closed_form(length: float) -> None:
    rng = torch.Generator().manual_seed(0)
    slope = torch.randn(3, 4, 4, generator=rng)
    critic = Linear(length * slope / slope.norm())
    real, fake = torch.rand(2, 5, 3, 4, 4, generator=rng)
    penalty = gradient_penalty(critic, real, fake, torch.rand(5, 1, 1, 1, generator=rng))
    assert penalty.item() == pytest.approx((length - 1) ** 2, abs=1e-5)


def test_penalty_is_taken_at_the_mixed_images() -> None:
    class Square(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.square().sum(dim=(1, 2, 3)) / 2  # the slope at x is x

    real, fake = torch.ones(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    mix = torch.tensor([0.0, 0.75]).view(2, 1, 1, 1)
    slopes = torch.tensor([1.0, 0.25]) * 12**0.5
    penalty = gradient_penalty(Square(), real, fake, mix)
    assert penalty.item() == pytest.approx(float((slopes - 1).square().mean()), rel=1e-5)


def test_penalty_teaches_the_critic_a_slope_of_one() -> None:
    critic = Linear(torch.full((3, 2, 2), 0.5))
    adam = torch.optim.Adam(critic.parameters(), lr=0.05)
    for _ in range(100):
        loss = gradient_penalty(critic, torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2), torch.rand(4, 1, 1, 1))
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert critic.slope.norm().item() == pytest.approx(1.0, abs=0.02)


def toy() -> tuple[nn.Module, nn.Module, Tensor]:
    """Networks without convolutions, and images of one bright colour."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 48), nn.Unflatten(1, (3, 4, 4)), nn.Sigmoid())
    critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Flatten(0))
    colour = torch.tensor([230, 60, 128], dtype=torch.uint8).view(1, 3, 1, 1)
    noise = torch.randint(0, 10, (64, 3, 4, 4), dtype=torch.uint8)
    return generator, critic, colour + noise


SETTINGS = GanSettings(
    latent_dim=2, steps=9, batch_size=16, learning_rate=2e-2, critic_steps=3, penalty=10.0, objective="wasserstein"
)


@pytest.mark.parametrize("objective", ["wasserstein", "non_saturating"])
def test_the_generator_learns_the_colour_of_the_images(objective: Literal["wasserstein", "non_saturating"]) -> None:
    generator, critic, images = toy()
    wanted = (images.float() / 255).mean(dim=(0, 2, 3))
    latents = torch.randn(200, 2)
    before = (generator(latents).mean(dim=(0, 2, 3)) - wanted).abs().max()
    facts = fit_gan(generator, critic, images, replace(SETTINGS, steps=240, objective=objective), TrainingRun(seed=0))
    after = (generator(latents).mean(dim=(0, 2, 3)) - wanted).abs().max()
    assert after < 0.6 * before
    assert set(facts) == {"critic_loss", "generator_loss"}
    assert all(abs(value) < 100 for value in facts.values())
    assert all(p.requires_grad for p in critic.parameters()), "the critic was left frozen"


def test_the_same_seed_gives_the_same_generator() -> None:
    found = []
    for seed in (0, 0, 1):
        generator, critic, images = toy()
        fit_gan(generator, critic, images, SETTINGS, TrainingRun(seed=seed))
        found.append(generator[0].weight.detach().clone())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize(("steps", "moves"), [(2, False), (3, True)])
def test_the_generator_waits_for_the_critic(steps: int, moves: bool) -> None:
    generator, critic, images = toy()
    before, judged = generator[0].weight.detach().clone(), critic[1].weight.detach().clone()
    fit_gan(generator, critic, images, replace(SETTINGS, steps=steps), TrainingRun(seed=0))
    assert torch.equal(generator[0].weight, before) == (not moves)
    assert not torch.equal(critic[1].weight, judged)


def test_a_critic_that_answers_with_no_numbers_after_the_last_step_is_no_success() -> None:
    generator, critic, images = toy()
    settings = GanSettings(
        latent_dim=2,
        steps=1,
        batch_size=8,
        learning_rate=1e38,
        critic_steps=2,
        penalty=0.0,
        objective="non_saturating",
    )
    with pytest.raises(TrainingDiverged, match="are not finite"):
        fit_gan(generator, critic, images, settings, TrainingRun(seed=0))
