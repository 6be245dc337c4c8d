"""One pixel: what changes, and that evolution finds the pixel a network looks at."""

from __future__ import annotations

import torch
from torch import Tensor

from midef.metrics.robustness.one_pixel import changed_pixels, one_pixel

SIDE = 6


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_candidate_is_a_place_and_a_colour() -> None:
    images = torch.full((2, 3, SIDE, SIDE), 0.5)
    candidates = torch.tensor([[0.0, 0.999, 1.0, 0.0, 0.25], [1.0, 0.5, 0.0, 0.0, 0.0]])
    found = changed_pixels(images, candidates)
    assert found[0, :, 0, 5].tolist() == [1.0, 0.0, 0.25] and found[1, :, 5, 3].tolist() == [0.0, 0.0, 0.0]
    assert int((found != 0.5).any(dim=1).sum()) == 2 and (images == 0.5).all()


def brightness_of_red(images: Tensor) -> Tensor:
    """Logits of a network that says class 1 once the reds of an image sum to more than 18."""
    red = images[:, 0].sum(dim=(1, 2))
    return torch.stack([torch.zeros_like(red), 4 * (red - 18.2)], dim=1)


def test_evolution_finds_a_brighter_red_and_changes_one_pixel_alone() -> None:
    """36 reds of 0.5 sum to 18; one pixel adds at most 0.5, and more than 0.2 are needed."""
    images, labels = torch.full((30, 3, SIDE, SIDE), 0.5), torch.zeros(30, dtype=torch.int64)
    for aimed, targeted in ((labels, False), (labels + 1, True)):
        found = one_pixel(brightness_of_red, images, aimed, targeted=targeted, rng=rng())
        assert (brightness_of_red(found).argmax(dim=1) == 1).all()
        assert ((found != images).any(dim=1).sum(dim=(1, 2)) <= 1).all()


def test_more_generations_never_do_worse() -> None:
    images, labels = torch.full((30, 3, SIDE, SIDE), 0.5), torch.zeros(30, dtype=torch.int64)
    reached = [
        brightness_of_red(
            one_pixel(brightness_of_red, images, labels, targeted=False, rng=rng(), population=4, generations=n)
        )[:, 1]
        for n in (0, 3, 12)
    ]
    assert (reached[0] <= reached[1] + 1e-6).all() and (reached[1] <= reached[2] + 1e-6).all()
    assert reached[2].mean() > reached[0].mean() + 0.1
