"""Views against one image at a time, in Pillow, torchvision and formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.latent_search.views import CROP_DRAWS, VIEW_DRAWS, erased, randomly_cropped, slightly_changed
from midef.core import derive_seed

SHARE, LEFT, TOP, BRIGHTNESS, CONTRAST, JITTER, MIRROR, TURN = range(VIEW_DRAWS)
NEUTRAL = torch.tensor([1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 0.5])


def noise(n: int = 4, px: int = 20) -> Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(1))


def draws(n: int, **chosen: float) -> Tensor:
    """Draws that change nothing but what is named."""
    rows = NEUTRAL.repeat(n, 1)
    for name, value in chosen.items():
        rows[:, globals()[name]] = value
    return rows


def close(found: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@pytest.mark.parametrize("jitter_p", [0.0, 1.0])
def test_neutral_draws_change_nothing(jitter_p: float) -> None:
    close(slightly_changed(noise(), draws(4), jitter_p=jitter_p), noise())


@pytest.mark.parametrize(("draw", "area"), [(0.0, 0.8), (0.5, 0.9)])
@pytest.mark.parametrize(("left", "top"), [(0.0, 0.0), (1.0, 0.25)])
def test_the_crop_is_pillows(draw: float, area: float, left: float, top: float) -> None:
    found = slightly_changed(noise(), draws(4, SHARE=draw, LEFT=left, TOP=top), jitter_p=1.0)
    side = 20 * area**0.5
    x, y = left * (20 - side), top * (20 - side)
    for one in range(4):
        for channel in range(3):
            picture = Image.fromarray(noise()[one, channel].numpy(), mode=None)
            resized = picture.resize((20, 20), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
            np.testing.assert_allclose(found[one, channel].numpy(), np.asarray(resized), atol=1e-5)


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.8), (0.25, 0.9), (0.75, 1.1)])
def test_the_jitter_is_torchvisions(draw: float, factor: float) -> None:
    close(slightly_changed(noise(), draws(4, BRIGHTNESS=draw), jitter_p=1.0), vision.adjust_brightness(noise(), factor))
    found = slightly_changed(noise(), draws(4, CONTRAST=draw), jitter_p=1.0)
    expected = torch.stack([vision.adjust_contrast(image, factor) for image in noise()])
    close(found, expected, atol=5e-4)  # torchvision's red is 0.2989


def test_the_jitter_comes_with_its_probability() -> None:
    rows = draws(4, BRIGHTNESS=0.0)
    rows[:, JITTER] = torch.tensor([0.0, 0.49, 0.5, 0.99])
    found = slightly_changed(noise(), rows, jitter_p=0.5)
    close(found, noise() * torch.tensor([0.8, 0.8, 1.0, 1.0]).view(4, 1, 1, 1))


def test_half_of_the_images_are_mirrored() -> None:
    rows = draws(4)
    rows[:, MIRROR] = torch.tensor([0.0, 0.49, 0.5, 0.99])
    found = slightly_changed(noise(), rows, jitter_p=1.0)
    close(found, torch.cat([noise()[:2].flip(3), noise()[2:]]))


@pytest.mark.parametrize(("draw", "degrees"), [(0.0, -5.0), (0.75, 2.5)])
def test_the_turn_is_torchvisions(draw: float, degrees: float) -> None:
    found = slightly_changed(noise(), draws(4, TURN=draw), jitter_p=1.0)
    close(found, vision.rotate(noise(), degrees, interpolation=vision.InterpolationMode.BILINEAR), atol=1e-4)


def test_the_order_is_crop_jitter_mirror_turn() -> None:
    parts = [
        {"SHARE": 0.1, "LEFT": 0.2, "TOP": 0.9},
        {"BRIGHTNESS": 1.0, "CONTRAST": 0.9},
        {"MIRROR": 0.1},
        {"TURN": 0.9},
    ]
    expected = noise()
    for part in parts:
        expected = slightly_changed(expected, draws(4, **part), jitter_p=1.0)
    everything = {name: value for part in parts for name, value in part.items()}
    close(slightly_changed(noise(), draws(4, **everything), jitter_p=1.0), expected, atol=1e-4)


def test_an_image_depends_on_its_own_draws_alone() -> None:
    rows = torch.rand(4, VIEW_DRAWS, generator=torch.Generator().manual_seed(2))
    together = slightly_changed(noise(), rows, jitter_p=0.5)
    assert torch.equal(slightly_changed(noise()[1:2], rows[1:2], jitter_p=0.5), together[1:2])
    assert (together - noise()).abs().amax(dim=(1, 2, 3)).min() > 1e-2


def test_only_the_jitter_clips() -> None:
    images = 3 * noise() - 1
    moved = draws(4, SHARE=0.5, TURN=0.6, MIRROR=0.0)
    kept = slightly_changed(images, moved, jitter_p=0.0)
    assert kept.min() < -0.5 and kept.max() > 1.5
    clipped = slightly_changed(images, moved, jitter_p=1.0)
    assert clipped.min() >= 0 and clipped.max() <= 1 + 1e-6


def test_gradients_are_those_of_small_differences() -> None:
    rows = torch.rand(4, VIEW_DRAWS, generator=torch.Generator().manual_seed(2))
    images = (0.2 + 0.6 * noise()).requires_grad_(True)
    weights, direction = noise(px=20).flip(0), noise(px=20) - 0.5
    (slope,) = torch.autograd.grad((slightly_changed(images, rows, jitter_p=1.0) * weights).sum(), images)
    step = 1e-2  # the view is linear as long as nothing is clipped

    def along(sign: int) -> Tensor:
        return (
            (slightly_changed(images.detach() + sign * step * direction, rows, jitter_p=1.0) * weights).double().sum()
        )

    assert float((slope * direction).sum()) == pytest.approx(float(along(1) - along(-1)) / (2 * step), rel=1e-3)


def test_half_precision_images_are_changed_in_full_precision() -> None:
    images, rows = noise().bfloat16(), draws(4, SHARE=0.3, TURN=0.8)
    found = slightly_changed(images, rows, jitter_p=1.0)
    assert found.dtype == torch.float32
    close(found, slightly_changed(images.float(), rows, jitter_p=1.0))


AREA, RATIO, ACROSS, DOWN = range(CROP_DRAWS)


@pytest.mark.parametrize(
    ("area", "ratio", "share", "wide_to_high"),
    [(0.0, 0.5, 0.5, 1.0), (0.75, 0.0, 0.8, 0.8), (0.25, 1.0, 0.6, 1.2)],
    ids=["least", "upright", "wide"],
)
def test_the_random_crop_is_pillows(area: float, ratio: float, share: float, wide_to_high: float) -> None:
    """The area is uniform, the ratio of width to height uniform in its logarithm."""
    draws = torch.tensor([[area, ratio, 0.25, 1.0]]).repeat(4, 1)
    high = 1.25 if wide_to_high <= 1 else 1.2
    found = randomly_cropped(noise(), draws, scale=(0.5, 0.9), ratio=(1 / high, high))
    wide, tall = 20 * (share * wide_to_high) ** 0.5, 20 * (share / wide_to_high) ** 0.5
    x, y = 0.25 * (20 - wide), 20 - tall
    for one in range(4):
        for channel in range(3):
            picture = Image.fromarray(noise()[one, channel].numpy(), mode=None)
            resized = picture.resize((20, 20), Image.Resampling.BILINEAR, box=(x, y, x + wide, y + tall))
            np.testing.assert_allclose(found[one, channel].numpy(), np.asarray(resized), atol=1e-5)


def test_a_random_crop_depends_on_its_own_draws_and_passes_gradients_unclipped() -> None:
    draws = torch.rand(4, CROP_DRAWS, generator=torch.Generator().manual_seed(2))
    images = (3 * noise() - 1).requires_grad_(True)
    together = randomly_cropped(images, draws, scale=(0.5, 0.9), ratio=(0.8, 1.2))
    alone = randomly_cropped(images[2:3], draws[2:3], scale=(0.5, 0.9), ratio=(0.8, 1.2))
    close(alone, together[2:3], atol=1e-6)
    assert together.min() < -0.5 and together.max() > 1.5, "nothing is clipped"
    (slope,) = torch.autograd.grad(together.sum(), images)
    assert float(slope.sum()) == pytest.approx(together.numel(), rel=1e-4), "the weights of a pixel add up to 1"
    whole = torch.tensor([[1.0, 0.5, 0.3, 0.7]]).repeat(4, 1)
    close(randomly_cropped(noise(), whole, scale=(0.9, 1.0)), noise())


@pytest.mark.parametrize("seed", [0, 1])
def test_the_erased_square_has_the_fill_and_the_rest_stays(seed: int) -> None:
    streams = RowStreams([derive_seed("row", seed, i) for i in range(4)])
    fill = (0.7425, 0.728, 0.703)  # (.485, .456, .406) after Normalize(.5, .5), as pixels
    found = erased(noise(), streams, area=(0.2, 0.4), fill=fill)
    is_filled = (found == torch.tensor(fill)[:, None, None]).all(dim=1)
    assert torch.equal(
        found[~is_filled[:, None].expand(-1, 3, -1, -1)], noise()[~is_filled[:, None].expand(-1, 3, -1, -1)]
    )
    shares = is_filled.float().mean(dim=(1, 2))
    assert float(shares.min()) > 0.15 and float(shares.max()) < 0.45
