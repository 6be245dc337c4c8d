"""Batched augmentation against one image at a time, in Pillow, torchvision and SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as vision

from midef.datasets.files.augment import _turn_hue, color_jitter, flip, gaussian_blur, resized_crop, rotate, shift

JITTER = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}

AUGMENTATIONS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "flip": flip,
    "shift": lambda images, rng: shift(images, rng, pixels=2),
    "resized_crop": lambda images, rng: resized_crop(images, rng, scale=(0.3, 1.0), p=0.8, ratio=1.2),
    "rotate": lambda images, rng: rotate(images, rng, degrees=40, p=0.8),
    "color_jitter": lambda images, rng: color_jitter(
        images, rng, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5
    ),
    "gaussian_blur": lambda images, rng: gaussian_blur(
        images, 0.1 + 2 * torch.rand(len(images), generator=rng), kernel_px=5
    ),
}
every_augmentation = pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int = 6, height: int = 20, width: int = 20) -> Tensor:
    return torch.rand(n, 3, height, width, generator=seeded(1))


@every_augmentation
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0], ids=str)
def test_a_plain_image_stays_in_range(augment: Callable[[Tensor, Generator], Tensor], value: float) -> None:
    found = augment(torch.full((64, 3, 19, 19), value), seeded())
    assert found.min() >= 0 and found.max() <= 1


@every_augmentation
def test_same_generator_same_images_and_the_input_stays(augment: Callable[[Tensor, Generator], Tensor]) -> None:
    images = noise(n=16)
    kept = images.clone()
    found = augment(images, seeded())
    assert torch.equal(images, kept), "changed in place"
    assert found.shape == images.shape and found.dtype == torch.float32
    assert torch.equal(augment(images, seeded()), found)
    assert not torch.equal(augment(images, seeded(5)), found)


@every_augmentation
def test_each_image_is_drawn_on_its_own(augment: Callable[[Tensor, Generator], Tensor]) -> None:
    found = augment(noise(n=1).expand(32, -1, -1, -1), seeded())
    assert len({tuple(image.flatten().tolist()) for image in found}) > 1


def test_flip_mirrors_with_its_probability() -> None:
    images = noise(n=2000, height=2, width=3)
    found = flip(images, seeded(), p=0.3)
    mirrored = (found == images.flip(3)).flatten(1).all(dim=1)
    assert float(mirrored.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(found[~mirrored], images[~mirrored])


def test_shift_by_a_loop() -> None:
    images = noise(n=20, height=6, width=9)
    offsets = torch.randint(0, 7, (20, 2), generator=seeded(3)).tolist()
    expected = torch.empty_like(images)
    for image, (down, right) in enumerate(offsets):
        for row in range(6):
            for column in range(9):
                source_row = min(max(row + down - 3, 0), 5)
                source_column = min(max(column + right - 3, 0), 8)
                expected[image, :, row, column] = images[image, :, source_row, source_column]
    assert torch.equal(shift(images, seeded(3), pixels=3), expected)


@pytest.mark.parametrize("ratio", [1.0, 0.5, 2.0])
@pytest.mark.parametrize(("height", "width"), [(20, 20), (16, 30)])
def test_resized_crop_is_pillows(ratio: float, height: int, width: int) -> None:
    """Pillow cuts a rectangle with fractions of pixels, too; it rounds its weights, in mode F to float32."""
    images = noise(n=8, height=height, width=width)
    found = resized_crop(images, seeded(4), scale=(0.2, 0.45), ratio=ratio)
    area, left, top, _ = torch.rand(4, 8, generator=seeded(4)).double()
    share = 0.2 + 0.25 * area
    wide, high = (share * ratio).sqrt(), (share / ratio).sqrt()
    for one in range(8):
        x, y = float(left[one] * (1 - wide[one])) * width, float(top[one] * (1 - high[one])) * height
        box = (x, y, x + float(wide[one]) * width, y + float(high[one]) * height)
        for channel in range(3):
            picture = Image.fromarray(images[one, channel].numpy(), mode=None)
            expected = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=box))
            np.testing.assert_allclose(found[one, channel].numpy(), expected, atol=1e-5)


def test_a_crop_of_the_whole_image_changes_nothing() -> None:
    torch.testing.assert_close(resized_crop(noise(), seeded(), scale=(1.0, 1.0)), noise(), atol=1e-5, rtol=0)


def test_a_crop_at_the_edge_does_not_darken() -> None:
    white = torch.ones(500, 3, 10, 10)
    torch.testing.assert_close(resized_crop(white, seeded(), scale=(0.2, 0.9)), white)


def test_the_area_of_crops_is_uniform_in_its_range() -> None:
    """Each image holds its own coordinates, so a crop shows how much it kept."""
    line = (torch.arange(32) + 0.5) / 32
    images = torch.stack([line.expand(32, 32), line[:, None].expand(32, 32), torch.zeros(32, 32)]).expand(
        5000, -1, -1, -1
    )
    found = resized_crop(images, seeded(), scale=(0.3, 1.0))
    middle_step = found[:, 0, 16, 18] - found[:, 0, 16, 14]
    area = (middle_step * 8).square()
    assert float(area.min()) > 0.3 - 1e-3 and float(area.max()) < 1 + 1e-3
    for quarter in (0.25, 0.5, 0.75):
        assert float((area < 0.3 + 0.7 * quarter).float().mean()) == pytest.approx(quarter, abs=0.02)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (16, 30)])
def test_rotate_is_torchvisions(height: int, width: int) -> None:
    images = noise(n=8, height=height, width=width)
    found = rotate(images, seeded(2), degrees=50)
    drawn, _ = torch.rand(2, 8, generator=seeded(2))
    for one in range(8):
        angle = float(2 * drawn[one] - 1) * 50
        expected = vision.rotate(images[one], angle, interpolation=vision.InterpolationMode.BILINEAR)
        torch.testing.assert_close(found[one], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "warp", [lambda i, r, p: rotate(i, r, degrees=30, p=p), lambda i, r, p: resized_crop(i, r, scale=(0.5, 0.6), p=p)]
)
def test_images_not_chosen_stay_bit_for_bit(warp: Callable[[Tensor, Generator, float], Tensor]) -> None:
    images = noise(n=1000, height=5, width=5)
    stayed = (warp(images, seeded(), 0.25) == images).flatten(1).all(dim=1)
    assert float(stayed.float().mean()) == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize(
    ("name", "place", "reference"),
    [
        ("brightness", 0, vision.adjust_brightness),
        ("contrast", 1, vision.adjust_contrast),
        ("saturation", 2, vision.adjust_saturation),
    ],
)
def test_jitter_of_one_kind_is_torchvisions(
    name: str, place: int, reference: Callable[[Tensor, float], Tensor]
) -> None:
    images = noise(n=8)
    found = color_jitter(images, seeded(6), **{**JITTER, name: 0.6})
    drawn = 2 * torch.rand(4, 8, 1, 1, 1, generator=seeded(6)) - 1
    for one in range(8):
        expected = reference(images[one], 1 + 0.6 * float(drawn[place, one]))
        torch.testing.assert_close(found[one], expected, atol=5e-4, rtol=0)  # torchvision's red is 0.2989


def test_hue_is_torchvisions() -> None:
    images = noise(n=8)
    images[0] = images[0, :1]  # grey
    images[1, :, :10] = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)  # two channels equal
    found = color_jitter(images, seeded(6), **{**JITTER, "hue": 0.5})
    drawn = 2 * torch.rand(4, 8, 1, 1, 1, generator=seeded(6)) - 1
    for one in range(8):
        expected = vision.adjust_hue(images[one], 0.5 * float(drawn[3, one]))
        torch.testing.assert_close(found[one], expected, atol=1e-4, rtol=0)


def test_a_third_of_a_turn_permutes_the_channels() -> None:
    images = noise()
    torch.testing.assert_close(_turn_hue(images, torch.tensor(1 / 3)), images.roll(1, dims=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(_turn_hue(images, torch.tensor(0.0)), images, atol=1e-6, rtol=0)


def test_blur_is_scipys() -> None:
    """SciPy's `mirror` is torch's `reflect`; it cuts its kernel at `radius`."""
    images, sigma = noise(n=4), torch.tensor([0.3, 0.8, 1.7, 4.0])
    found = gaussian_blur(images, sigma, kernel_px=9)
    for one in range(4):
        for channel in range(3):
            expected = ndimage.gaussian_filter(
                images[one, channel].double().numpy(), float(sigma[one]), mode="mirror", radius=4
            )
            np.testing.assert_allclose(found[one, channel].numpy(), expected, atol=1e-5)


def test_blur_of_one_pixel_from_the_formula() -> None:
    images = torch.zeros(1, 3, 9, 9)
    images[0, 1, 4, 4] = 1.0
    found = gaussian_blur(images, torch.tensor([1.5]), kernel_px=5)
    line = [math.exp(-(o**2) / (2 * 1.5**2)) for o in range(-2, 3)]
    for row in range(9):
        for column in range(9):
            inside = abs(row - 4) <= 2 and abs(column - 4) <= 2
            expected = line[row - 2] * line[column - 2] / sum(line) ** 2 if inside else 0.0
            assert float(found[0, 1, row, column]) == pytest.approx(expected, abs=1e-6)
    assert not found[0, [0, 2]].any()
