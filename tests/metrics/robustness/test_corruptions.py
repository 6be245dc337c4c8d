"""Corruptions on images for which the answer is known by hand."""

from __future__ import annotations

import math

import pytest
import torch

from midef.metrics.robustness.corruptions import CORRUPTIONS, NOISE, blur, brightness, contrast, noise, pixelate


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("side", [21, 32])
def test_shape_and_range_stay_and_the_image_changes(name: str, side: int) -> None:
    images = torch.rand(3, 3, side, side, generator=rng())
    found = CORRUPTIONS[name](images.clone(), rng())
    assert found.shape == images.shape and found.min() >= 0 and found.max() <= 1
    assert (found - images).abs().mean() > 0.01


def test_noise_has_its_deviation() -> None:
    found = noise(torch.full((4, 3, 64, 64), 0.5), rng())
    assert found.std().item() == pytest.approx(NOISE, rel=0.02) and found.mean().item() == pytest.approx(0.5, abs=0.002)


def test_blur_leaves_constants_and_spreads_a_point_as_a_gaussian() -> None:
    """At 32 px the deviation is 1 px: the neighbour of a bright point has exp(-1/2) of its brightness."""
    grey = torch.full((1, 3, 32, 32), 0.3)
    torch.testing.assert_close(blur(grey, rng()), grey)
    point = torch.zeros(1, 3, 32, 32)
    point[..., 16, 16] = 1.0
    spread = blur(point, rng())[0, 0]
    assert spread[16, 17] / spread[16, 16] == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert spread.sum().item() == pytest.approx(1.0, rel=1e-4)


def test_contrast_brightness_and_coarse_pixels_by_hand() -> None:
    image = torch.tensor([[0.0, 1.0], [0.0, 0.6]]).expand(1, 3, 2, 2)  # mean 0.4
    expected = torch.tensor([[0.24, 0.64], [0.24, 0.48]]).expand(1, 3, 2, 2)
    torch.testing.assert_close(contrast(image, rng()), expected)
    torch.testing.assert_close(brightness(image, rng())[0, 0], torch.tensor([[0.2, 1.0], [0.2, 0.8]]))
    torch.testing.assert_close(pixelate(image, rng()), torch.full((1, 3, 2, 2), 0.4))
