from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import pytest
import torch
from torch import Generator, Tensor

from midef.core import SpecError
from midef.defenses import DEFENSES, Batch
from midef.defenses.midre import IMAGENET_MEAN, Midre, erase, reject_joint_squares, valid_corner_squares

Sampler = Callable[..., Tensor]
SAMPLERS = {"valid_corner": valid_corner_squares, "reject_joint": reject_joint_squares}
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, side: int) -> Batch:
    """Images in which no pixel has the fill colour by chance."""
    return Batch(torch.rand(n, 3, side, side, generator=seeded(1)), torch.zeros(n, dtype=torch.long), torch.arange(n))


@every_sampler
@pytest.mark.parametrize(
    ("side_px", "area", "expected"), [(224, 0.1, 71), (224, 0.4, 142), (224, 0.8, 200), (64, 0.1, 20), (64, 0.4, 40)]
)
def test_side_of_the_square(sampler: Sampler, side_px: int, area: float, expected: int) -> None:
    squares = sampler((8, side_px, side_px), area=(area, area), rng=seeded())
    assert squares[:, 2].tolist() == [expected] * 8


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("fill_space", ["pixel", "normalised"])
def test_every_image_holds_exactly_one_constant_square(sampler: str, fill_space: str) -> None:
    batch = noise(64, 40)
    defense = DEFENSES.make("midre", {"area_high": 0.8, "sampler": sampler, "fill_space": fill_space})
    assert isinstance(defense, Midre)
    images = defense.transform_batch(batch, 0.0, seeded()).images
    filled = (images == torch.tensor(defense.fill_colour()).view(1, 3, 1, 1)).all(dim=1)
    for before, after, mask in zip(batch.images, images, filled, strict=True):
        rows, columns = torch.nonzero(mask.any(dim=1)).squeeze(1), torch.nonzero(mask.any(dim=0)).squeeze(1)
        side = len(rows)
        assert side == len(columns) == int(rows[-1] - rows[0] + 1) == int(columns[-1] - columns[0] + 1)
        assert int(mask.sum()) == side**2
        assert round(sqrt(0.1) * 40) <= side <= round(sqrt(0.8) * 40)
        assert torch.equal(after[:, ~mask], before[:, ~mask])
    assert len({tuple(mask.flatten().tolist()) for mask in filled}) > 60, "the images share their squares"


@pytest.mark.parametrize("area_high", [0.4, 0.8])
def test_mean_area_of_the_released_sampler(area_high: float) -> None:
    sides = valid_corner_squares((20_000, 224, 224), area=(0.1, area_high), rng=seeded())[:, 2]
    area = (sides.double() / 224).square()
    assert float(area.mean()) == pytest.approx({0.4: 0.25, 0.8: 0.45}[area_high], abs=0.005)
    share_below_the_middle = float((area < (0.1 + area_high) / 2).double().mean())
    assert share_below_the_middle == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("area_high", "published"), [(0.4, 0.22), (0.8, 0.29)])
def test_mean_area_of_the_papers_text(area_high: float, published: float) -> None:
    sides = reject_joint_squares((20_000, 224, 224), area=(0.1, area_high), rng=seeded())[:, 2]
    found = float((sides.double() / 224).square().mean())
    areas = torch.linspace(0.1, area_high, 10_001, dtype=torch.float64)
    accepted = (1 - areas.sqrt()).square()  # a corner fits with this probability
    expected = float((areas * accepted).sum() / accepted.sum())
    assert expected == pytest.approx(published, abs=0.005)
    assert found == pytest.approx(expected, abs=0.006)


@every_sampler
def test_corners_are_uniform_among_those_that_fit(sampler: Sampler) -> None:
    squares = sampler((20_000, 16, 16), area=(0.25, 0.25), rng=seeded())
    for corner in (squares[:, 0], squares[:, 1]):
        counts = torch.bincount(corner, minlength=9).double()
        assert len(counts) == 9, "a corner beyond those that fit"
        assert (counts / 20_000 - 1 / 9).abs().max() < 0.01


def test_released_sampler_by_a_loop() -> None:
    n, height, width, low, high = 50, 30, 40, 0.1, 0.4
    found = valid_corner_squares((n, height, width), area=(low, high), rng=seeded(7))
    draws = torch.rand(n, 3, generator=seeded(7)).tolist()
    for (top, left, side), (share, down, right) in zip(found.tolist(), draws, strict=True):
        assert side == round(sqrt((low + (high - low) * share) * height * width))
        assert top == int(down * (height - side + 1))
        assert left == int(right * (width - side + 1))


def test_sampler_of_the_text_by_a_loop() -> None:
    n, height, width, low, high = 50, 30, 40, 0.1, 0.4
    found = reject_joint_squares((n, height, width), area=(low, high), rng=seeded(7)).tolist()
    rng = seeded(7)
    expected: dict[int, list[int]] = {}
    while len(expected) < n:
        for image, (share, down, right) in enumerate(torch.rand(n, 3, generator=rng).tolist()):
            side = round(sqrt((low + (high - low) * share) * height * width))
            top, left = int(down * height), int(right * width)
            if image not in expected and top + side <= height and left + side <= width:
                expected[image] = [top, left, side]
    assert found == [expected[image] for image in range(n)]


def test_the_largest_square_stays_below_the_image() -> None:
    squares = valid_corner_squares((100, 16, 16), area=(0.99, 0.99), rng=seeded())
    assert squares[:, 2].unique().tolist() == [15]
    assert int((squares[:, :2] + squares[:, 2:]).max()) <= 16


def test_fill_is_the_imagenet_mean_in_the_space_chosen() -> None:
    assert IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert Midre().fill_colour() == IMAGENET_MEAN
    in_pixels = torch.tensor(Midre(fill_space="normalised").fill_colour())
    torch.testing.assert_close((in_pixels - 0.5) / 0.5, torch.tensor(IMAGENET_MEAN))
    torch.testing.assert_close(in_pixels, torch.tensor([0.743, 0.728, 0.703]), atol=6e-4, rtol=0)


def test_area_zero_touches_neither_images_nor_generator() -> None:
    batch, rng = noise(4, 8), seeded()
    state = rng.get_state()
    assert Midre(area_low=0.0, area_high=0.0).transform_batch(batch, 0.5, rng) is batch
    assert torch.equal(rng.get_state(), state)


def test_erase_by_a_loop() -> None:
    images, squares = noise(5, 9).images, torch.tensor([[0, 0, 3], [6, 6, 3], [2, 4, 1], [1, 1, 0], [0, 0, 8]])
    expected = images.clone()
    for image, (top, left, side) in zip(expected, squares.tolist(), strict=True):
        for channel, value in enumerate((0.1, 0.2, 0.3)):
            image[channel, top : top + side, left : left + side] = value
    assert torch.equal(erase(images, squares, fill=(0.1, 0.2, 0.3)), expected)


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.4), (-0.1, 0.4), (0.1, 1.0), (float("nan"), 0.4)])
def test_an_impossible_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(SpecError, match=r"defense 'midre'.*(needs 0 <= area_low <= area_high < 1|finite)"):
        DEFENSES.make("midre", {"area_low": low, "area_high": high})
