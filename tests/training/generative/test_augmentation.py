"""Augmentation of what a discriminator sees: how often, how far, and how its probability adapts."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from midef.training.generative import augmentation
from midef.training.generative.augmentation import (
    AdaptiveAugmentation,
    adapted,
    augmented,
    colour_matrix,
    turned_and_shifted,
)

LUMA = torch.full((3,), 3**-0.5)


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


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

    monkeypatch.setattr(augmentation, "turned_and_shifted", spy_moves)
    monkeypatch.setattr(augmentation, "colour_matrix", spy_colour)
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


def test_the_probability_is_adjusted_after_every_fourth_step_by_the_mean_sign_of_these_four() -> None:
    augment = AdaptiveAugmentation(target=0.5, images=100, batch_size=5, device="cpu")
    sure, unsure = torch.tensor([3.0, 2.0]), torch.tensor([-1.0, 4.0])
    seen = []
    for scores in (sure, sure, sure, unsure, unsure, unsure, unsure, sure):
        augment.observe(scores)
        seen.append(augment.probability.item())
    assert seen == pytest.approx([0, 0, 0, 0.2, 0.2, 0.2, 0.2, 0.0])  # 4 steps of 5 images are a fifth of 100
