"""StyleGAN2's loop: its losses, its average, its augmentation and how that adapts."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.training.generative import style_gan
from midef.training.generative.style_gan import (
    adapted,
    augmented,
    colour_matrix,
    ema_weight,
    fit_style_gan,
    mixed_latents,
    slope_penalty,
    turned_and_shifted,
)

LUMA = torch.full((3,), 3**-0.5)


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


# ---------------------------------------------------------------- augmentation


def test_a_probability_of_zero_changes_nothing() -> None:
    images = torch.rand(6, 3, 8, 8, generator=rng()) * 2 - 1
    assert torch.allclose(augmented(images, torch.tensor(0.0), rng()), images, atol=1e-6)


def test_each_way_happens_as_often_as_the_probability_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted on what is done to the images: of turns, one in four is none; so is half of the inversions."""
    seen: dict[str, Tensor] = {}

    def spy_moves(images: Tensor, **what: Tensor) -> Tensor:
        seen.update(what)
        return images

    def spy_colour(**what: Tensor) -> Tensor:
        seen.update(what)
        return torch.eye(3).expand(len(what["hue"]), 3, 3)

    monkeypatch.setattr(style_gan, "turned_and_shifted", spy_moves)
    monkeypatch.setattr(style_gan, "colour_matrix", spy_colour)
    images = torch.zeros(4000, 3, 16, 16)
    changed = augmented(images, torch.tensor(0.4), rng())
    shares = {
        "turns": (seen["turns"] != 0, 0.3),
        "shift": ((seen["down"] != 0) | (seen["right"] != 0), 0.4 * (1 - 1 / 4**2)),
        "brightness": (changed[:, 0, 0, 0] != 0, 0.4),
        "contrast": (seen["contrast"] != 1, 0.4),
        "inverts": (seen["inverts"], 0.2),
        "hue": (seen["hue"] != 0, 0.4),
        "saturation": (seen["saturation"] != 1, 0.4),
    }
    for name, (happened, share) in shares.items():
        assert happened.float().mean().item() == pytest.approx(share, abs=0.03), name
    assert seen["down"].abs().max() == seen["right"].abs().max() == 2, "an eighth of 16 px"
    changed_brightness = changed[changed[:, 0, 0, 0] != 0][:, 0, 0, 0]
    assert changed_brightness.std().item() == pytest.approx(0.2, rel=0.1)
    assert seen["contrast"][seen["contrast"] != 1].log2().std().item() == pytest.approx(0.5, rel=0.1)
    assert seen["saturation"][seen["saturation"] != 1].log2().std().item() == pytest.approx(1, rel=0.1)
    assert seen["hue"].min() < -3 and seen["hue"].max() > 3 and seen["hue"].abs().max() <= math.pi


def test_turns_and_shifts_move_pixels_as_rot90_and_reflection_do() -> None:
    images = torch.rand(32, 3, 8, 8, generator=rng())
    turns = torch.arange(32) % 4
    down, right = (torch.randint(-3, 4, (32,), generator=rng(s)) for s in (1, 2))
    found = turned_and_shifted(images, turns=turns, down=down, right=right)
    for i in range(32):
        turned = torch.rot90(images[i], int(turns[i]), dims=(1, 2))
        padded = F.pad(turned, (3, 3, 3, 3), mode="reflect")
        top, left = 3 - int(down[i]), 3 - int(right[i])
        assert torch.equal(found[i], padded[:, top : top + 8, left : left + 8])


def colours(**change: float | bool) -> Tensor:
    what = {"contrast": 1.0, "inverts": False, "hue": 0.0, "saturation": 1.0} | change
    return colour_matrix(**{name: torch.tensor([value]) for name, value in what.items()})[0]


def test_colour_changes_do_what_their_names_say() -> None:
    colour = torch.tensor([0.7, -0.2, 0.1])
    grey = LUMA * (colour @ LUMA)
    chroma = colour - grey
    assert torch.allclose(colours() @ colour, colour, atol=1e-6)
    assert torch.allclose(colours(contrast=1.5) @ colour, 1.5 * colour, atol=1e-6)
    assert torch.allclose(colours(inverts=True) @ colour, chroma - grey, atol=1e-6)
    assert torch.allclose(colours(saturation=0.5) @ colour, grey + 0.5 * chroma, atol=1e-6)
    turned = colours(hue=0.8) @ colour
    assert torch.allclose(turned @ LUMA, colour @ LUMA, atol=1e-6) and not torch.allclose(turned, colour, atol=0.1)
    angle = torch.arccos(F.cosine_similarity(turned - grey, chroma, dim=0))
    assert angle.item() == pytest.approx(0.8, abs=1e-4)
    assert torch.allclose((turned - grey).norm(), chroma.norm(), atol=1e-6)
    third = colours(hue=2 * math.pi / 3)
    assert torch.allclose(third @ colour, colour.roll(1), atol=1e-6), "red becomes green"


def test_an_image_is_augmented_alone_and_gradients_pass() -> None:
    images = (torch.rand(4, 3, 8, 8, generator=rng()) * 2 - 1).requires_grad_(True)
    changed = augmented(images, torch.tensor(1.0), rng(1))
    (slope,) = torch.autograd.grad(changed[2].square().sum(), images)
    assert slope[2].any() and not slope[[0, 1, 3]].any()
    assert not torch.allclose(changed, augmented(images, torch.tensor(1.0), rng(2)))
    assert torch.equal(changed, augmented(images, torch.tensor(1.0), rng(1)))


def test_the_probability_follows_how_sure_the_discriminator_is() -> None:
    start = torch.tensor(0.5)
    assert adapted(start, torch.tensor(0.9), target=0.6, share=0.1).item() == pytest.approx(0.6)
    assert adapted(start, torch.tensor(0.2), target=0.6, share=0.1).item() == pytest.approx(0.4)
    assert adapted(torch.tensor(0.95), torch.tensor(1.0), target=0.6, share=0.1).item() == 1
    assert adapted(torch.tensor(0.05), torch.tensor(-1.0), target=0.6, share=0.1).item() == 0
    assert adapted(torch.tensor(0.0), torch.tensor(1.0), target=1.0, share=0.1).item() == 0, "1 never augments"


# ---------------------------------------------------------------- the loop


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
    "draw": lambda generator, latents, rng: generator(latents),
    "layers": 3,
    "latent_dim": 2,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "r1": 0.1,
    "ada_target": 1.0,
    "ada_images": 1000,
    "ema_images": 100,
    "seed": 0,
    "device": "cpu",
}


def test_the_generator_learns_the_colour_of_the_images() -> None:
    generator, discriminator, images = toy()
    wanted = (images.float() / 127.5 - 1).mean(dim=(0, 2, 3))
    latents = torch.randn(200, 3, 2, generator=rng(4))
    before = (generator(latents).mean(dim=(0, 2, 3)) - wanted).abs().max()
    facts = fit_style_gan(generator, discriminator, images, steps=200, **HOW)
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

    fit_style_gan(generator, discriminator, images, steps=1, **HOW | {"draw": draw, "r1": 3.0})
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
    fit_style_gan(generator, discriminator, images, steps=33, **HOW)
    assert calls == [16, 16, 16]


def test_a_sure_discriminator_is_shown_augmented_images() -> None:
    generator, discriminator, images = toy()
    facts = fit_style_gan(generator, discriminator, images, steps=40, **HOW | {"ada_target": 0.01, "ada_images": 640})
    assert 0.3 < facts["augmentation"] <= 1, "its probability moves by 0.1 every 4 steps"


def test_real_and_generated_images_are_augmented_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for the real ones and twice for generated ones; were only these changed, the generator would learn it."""
    told: list[float] = []

    def spy(images: Tensor, probability: Tensor, rng: Generator) -> Tensor:
        told.append(probability.item())
        return images

    monkeypatch.setattr(style_gan, "augmented", spy)
    generator, discriminator, images = toy()
    fit_style_gan(generator, discriminator, images, steps=12, **HOW | {"ada_target": 0.01, "ada_images": 640})
    assert len(told) == 36 and told[-1] > 0
    assert all(told[i] == told[i + 1] == told[i + 2] for i in range(0, 36, 3))


def test_the_generator_ends_as_its_average() -> None:
    ends = []
    for ema_images in (1, 10_000_000):
        generator, discriminator, images = toy()
        fit_style_gan(generator, discriminator, images, steps=40, **HOW | {"ema_images": ema_images})
        ends.append(generator.colour.weight.detach().clone())  # type: ignore[union-attr,operator]
    start = toy()[0].colour.weight  # type: ignore[union-attr]
    assert not torch.equal(ends[0], ends[1])
    assert (ends[1] - start).abs().mean() < (ends[0] - start).abs().mean(), "the average lags behind"  # type: ignore[operator]


def test_the_same_seed_gives_the_same_generator() -> None:
    found: list[Tensor] = []
    for seed in (0, 0, 1):
        generator, discriminator, images = toy()
        torch.manual_seed(len(found))  # the global generator takes no part
        fit_style_gan(generator, discriminator, images, steps=9, **HOW | {"seed": seed, "ada_target": 0.1})
        found.append(generator.colour.weight.detach().clone())  # type: ignore[union-attr,operator]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_progress_is_reported_about_twenty_times() -> None:
    generator, discriminator, images = toy()
    told: list[dict[str, Any]] = []
    fit_style_gan(generator, discriminator, images, steps=40, report=told.append, **HOW)
    assert len(told) == 20 and told[-1] == {"step": 40, "steps": 40}
