"""The blur itself is compared with SciPy's in tests/datasets/test_augment.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator
from torchvision.transforms.v2 import functional as vision

from midef.core import SpecError
from midef.defenses import DEFENSES, Batch
from midef.defenses.gaussian_blur import GaussianBlur


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, side: int) -> Batch:
    return Batch(torch.rand(n, 3, side, side, generator=seeded(1)), torch.zeros(n, dtype=torch.long), torch.arange(n))


@pytest.mark.parametrize(
    ("side_px", "expected"), [(224, 23), (64, 7), (112, 11), (160, 17), (299, 31), (32, 3), (8, 3)]
)
def test_the_kernel_scales_with_the_image(side_px: int, expected: int) -> None:
    assert GaussianBlur().kernel_at(side_px) == expected


@pytest.mark.parametrize("kernel_px", [3, 23, 223])
@pytest.mark.parametrize("side_px", [3, 17, 64, 500])
def test_the_kernel_is_the_nearest_odd_number(kernel_px: int, side_px: int) -> None:
    wanted = kernel_px * side_px / 224
    nearest = min(abs(wanted - odd) for odd in range(3, 1001, 2))
    assert abs(GaussianBlur(kernel_px=kernel_px).kernel_at(side_px) - wanted) == nearest


@pytest.mark.parametrize(("side_px", "kernel_px"), [(224, 23), (64, 7)])
def test_blurs_as_torchvision_does(side_px: int, kernel_px: int) -> None:
    batch = noise(3, side_px)
    found = GaussianBlur().transform_batch(batch, 0.0, seeded(2)).images
    for image, blurred, drawn in zip(batch.images, found, torch.rand(3, generator=seeded(2)).tolist(), strict=True):
        sigma = (0.1 + 1.9 * drawn) * side_px / 224
        expected = vision.gaussian_blur(image, [kernel_px, kernel_px], [sigma, sigma])
        torch.testing.assert_close(blurred, expected, atol=1e-5, rtol=0)


def test_a_larger_sigma_leaves_less_detail() -> None:
    batch = noise(16, 64)
    left = [
        float(GaussianBlur(sigma_high=high).transform_batch(batch, 0.0, seeded()).images.var())
        for high in (0.2, 2.0, 8.0)
    ]
    assert float(batch.images.var()) > left[0] - 1e-6 > left[1] > left[2]


def test_off_touches_neither_images_nor_generator() -> None:
    batch, rng = noise(2, 16), seeded()
    state = rng.get_state()
    assert GaussianBlur().off().transform_batch(batch, 0.0, rng) is batch
    assert torch.equal(rng.get_state(), state)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sigma_low": 0.0}, "needs 0 < sigma_low <= sigma_high, or both 0, got 0.0, 2.0"),
        ({"sigma_low": 3.0}, "needs 0 < sigma_low <= sigma_high"),
        ({"sigma_low": -1.0, "sigma_high": 0.0}, "needs 0 < sigma_low <= sigma_high"),
        ({"kernel_px": 8}, "needs an odd kernel_px from 3 to 223, got 8"),
        ({"kernel_px": 1}, "needs an odd kernel_px"),
        ({"kernel_px": 225}, "needs an odd kernel_px"),
    ],
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("gaussian_blur", params)
