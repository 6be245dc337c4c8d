"""Views against one image at a time, in Pillow, torchvision and formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from midef.attacks.latent_search.views import VIEW_DRAWS, slightly_changed

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
