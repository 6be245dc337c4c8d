"""StyleGAN2's training: its losses, its average, and when it augments."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.training.generative import augmentation, style_gan
from midef.training.generative.loop import Report, TrainingRun
from midef.training.generative.style_gan import (
    Draw,
    StyleGanSettings,
    ema_weight,
    fit_style_gan,
    mixed_latents,
    slope_penalty,
)


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_latents_are_mixed_from_a_random_layer_on() -> None:
    latents = mixed_latents(3000, 4, 2, rng(), "cpu")
    assert latents.shape == (3000, 4, 2)
    starts = latents.ne(latents[:, :1]).any(dim=2)  # where it differs from the first layer's
    assert not starts[:, 0].any()
    assert (starts[:, 1:] >= starts[:, :-1]).all(), "once it has changed it stays changed"
    first = torch.where(starts.any(dim=1), starts.float().argmax(dim=1), 4)
    shares = torch.bincount(first, minlength=5) / 3000
    assert torch.allclose(shares, torch.tensor([0, 0.3, 0.3, 0.3, 0.1]), atol=0.03)
    assert latents.std().item() == pytest.approx(1, abs=0.03)


def test_the_slope_penalty_of_a_linear_discriminator_has_a_closed_form() -> None:
    slope = torch.randn(3, 4, 4, generator=rng())
    images = torch.rand(5, 3, 4, 4, requires_grad=True)
    assert torch.allclose(slope_penalty((images * slope).sum(dim=(1, 2, 3)), images), slope.square().sum())
    squares = (images.square() / 2).sum(dim=(1, 2, 3))  # the slope at x is x
    assert torch.allclose(slope_penalty(squares, images), images.square().sum(dim=(1, 2, 3)).mean())


def test_the_average_forgets_half_within_its_half_life() -> None:
    left = 1.0
    for step in range(10_000, 10_000 + 50):
        left *= 1 - ema_weight(step, 20, 1000)
    assert left == pytest.approx(0.5)
    assert ema_weight(0, 20, 1000) > 0.99, "at first it copies"
    assert ema_weight(99, 20, 1000) == pytest.approx(1 - 0.5 ** (20 / 100)), "5 % of the 2000 images so far"


class ToyGenerator(nn.Module):
    """A colour per image, through one linear layer over the mean latent."""

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Linear(2, 3)

    @override
    def forward(self, latents: Tensor) -> Tensor:
        colour: Tensor = self.colour(latents.mean(dim=1))
        return colour[:, :, None, None].expand(-1, -1, 4, 4)


def toy() -> tuple[nn.Module, nn.Module, Tensor]:
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Flatten(0))
    colour = torch.tensor([230, 60, 128], dtype=torch.uint8).view(1, 3, 1, 1)
    noise = torch.randint(0, 10, (64, 3, 4, 4), dtype=torch.uint8, generator=rng())
    return ToyGenerator(), discriminator, colour + noise


HOW: dict[str, Any] = {
    "latent_dim": 2,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "r1": 0.1,
    "ada_target": 1.0,
    "ada_images": 1000,
    "ema_images": 100,
    "mirror": False,
}


def fit(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    *,
    draw: Draw = lambda generator, latents, rng: generator(latents),
    seed: int = 0,
    report: Report | None = None,
    **changed: Any,
) -> dict[str, float]:
    settings, run = StyleGanSettings(**{**HOW, **changed}), TrainingRun(seed=seed, report=report)
    return fit_style_gan(generator, discriminator, images, draw, 3, settings, run)


def test_the_generator_learns_the_colour_of_the_images() -> None:
    generator, discriminator, images = toy()
    wanted = (images.float() / 127.5 - 1).mean(dim=(0, 2, 3))
    latents = torch.randn(200, 3, 2, generator=rng(4))
    before = (generator(latents).mean(dim=(0, 2, 3)) - wanted).abs().max()
    facts = fit(generator, discriminator, images, steps=200)
    after = (generator(latents).mean(dim=(0, 2, 3)) - wanted).abs().max()
    assert after < 0.5 * before, (before, after)
    assert set(facts) == {"discriminator_loss", "generator_loss", "augmentation"}
    assert facts["augmentation"] == 0 and 0 < facts["discriminator_loss"] < 3
    assert all(p.requires_grad for p in discriminator.parameters()), "the discriminator was left frozen"


def test_the_first_step_is_that_of_the_formula() -> None:
    """D: softplus(D(fake)) + softplus(-D(real)) + 16 r1 / 2 |slope|^2; Adam's first step is the gradient's sign."""
    generator, discriminator, images = toy()
    reference = copy.deepcopy(discriminator)
    images = images[:1].expand(32, -1, -1, -1)  # whatever is drawn is this image
    fakes: list[Tensor] = []

    def draw(generator: nn.Module, latents: Tensor, rng: Generator) -> Tensor:
        drawn: Tensor = generator(latents)
        fakes.append(drawn.detach())
        return drawn

    fit(generator, discriminator, images, steps=1, draw=draw, r1=3.0)
    real = (images[:16].float() / 127.5 - 1).requires_grad_(True)
    scores = reference(real)
    (slope,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    loss = F.softplus(reference(fakes[0])).mean() + F.softplus(-scores).mean()
    loss = loss + 16 * 3.0 / 2 * slope.square().sum(dim=(1, 2, 3)).mean()
    gradients = torch.autograd.grad(loss, list(reference.parameters()), allow_unused=True)
    for before, after, gradient in zip(reference.parameters(), discriminator.parameters(), gradients, strict=True):
        assert gradient is not None
        clear = gradient.abs() > 1e-4
        assert torch.allclose((after - before)[clear], -1e-2 * gradient.sign()[clear], atol=1e-4)


def test_the_discriminator_is_penalised_every_sixteenth_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    penalty = slope_penalty

    def spy(scores: Tensor, images: Tensor) -> Tensor:
        calls.append(len(images))
        return penalty(scores, images)

    monkeypatch.setattr(style_gan, "slope_penalty", spy)
    generator, discriminator, images = toy()
    fit(generator, discriminator, images, steps=33)
    assert calls == [16, 16, 16]


def test_a_sure_discriminator_is_shown_augmented_images() -> None:
    generator, discriminator, images = toy()
    facts = fit(generator, discriminator, images, steps=40, ada_target=0.01, ada_images=640)
    assert 0.3 < facts["augmentation"] <= 1, "its probability moves by 0.1 every 4 steps"


def test_real_images_are_mirrored_half_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    halves = torch.zeros(4, 3, 4, 4, dtype=torch.uint8)
    halves[..., :2] = 255  # bright on the left
    seen: list[Tensor] = []
    penalty = slope_penalty

    def spy(scores: Tensor, images: Tensor) -> Tensor:
        seen.append(images.detach())
        return penalty(scores, images)

    monkeypatch.setattr(style_gan, "slope_penalty", spy)
    for mirror in (False, True):
        generator, discriminator, _ = toy()
        fit(generator, discriminator, halves, steps=1, batch_size=64, mirror=mirror)
    left_is_bright = [images[:, 0, 0, 0] > 0 for images in seen]
    assert left_is_bright[0].all() and 16 < left_is_bright[1].sum() < 48
    assert torch.equal(seen[1][:, :, :, 0], -seen[1][:, :, :, 3]), "rows stay whole"


def test_images_are_resized_with_every_pixel_counted() -> None:
    images = torch.randint(0, 255, (3, 3, 8, 8), dtype=torch.uint8, generator=rng())
    assert style_gan.resized_8_bits(images, 8) is images
    # 8 to 4 px: triangles around the middle of each pair of pixels, (1, 3, 3, 1) / 8
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    expected = (images[:, :, 1:5, 3:7] * taps * taps[:, None]).sum(dim=(2, 3))
    made = style_gan.resized_8_bits(images, 4)
    assert made.dtype == torch.uint8 and (made[:, :, 1, 2] - expected).abs().max() <= 0.51


def test_real_and_generated_images_are_augmented_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for the real ones and twice for generated ones; were only these changed, the generator would learn it."""
    told: list[float] = []

    def spy(images: Tensor, probability: Tensor, rng: Generator) -> Tensor:
        told.append(probability.item())
        return images

    monkeypatch.setattr(augmentation, "augmented", spy)
    generator, discriminator, images = toy()
    fit(generator, discriminator, images, steps=12, ada_target=0.01, ada_images=640)
    assert len(told) == 36 and told[-1] > 0
    assert all(told[i] == told[i + 1] == told[i + 2] for i in range(0, 36, 3))


def test_the_generator_ends_as_its_average() -> None:
    ends = []
    for ema_images in (1, 10_000_000):
        generator, discriminator, images = toy()
        fit(generator, discriminator, images, steps=40, ema_images=ema_images)
        ends.append(generator.colour.weight.detach().clone())  # type: ignore[union-attr,operator]
    start = toy()[0].colour.weight  # type: ignore[union-attr]
    assert not torch.equal(ends[0], ends[1])
    assert (ends[1] - start).abs().mean() < (ends[0] - start).abs().mean(), "the average lags behind"  # type: ignore[operator]


def test_the_same_seed_gives_the_same_generator() -> None:
    found: list[Tensor] = []
    for seed in (0, 0, 1):
        generator, discriminator, images = toy()
        torch.manual_seed(len(found))  # the global generator takes no part
        fit(generator, discriminator, images, steps=9, seed=seed, ada_target=0.1)
        found.append(generator.colour.weight.detach().clone())  # type: ignore[union-attr,operator]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_progress_is_reported_about_twenty_times() -> None:
    generator, discriminator, images = toy()
    told: list[dict[str, Any]] = []
    fit(generator, discriminator, images, steps=40, report=told.append)
    assert len(told) == 20 and told[-1] == {"step": 40, "steps": 40}
