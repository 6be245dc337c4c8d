"""The crop itself is compared with Pillow's in tests/datasets/test_augment.py."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from midef.core import SpecError
from midef.defenses import DEFENSES, Batch, Tuning
from midef.defenses.random_crop import RandomCrop


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def coordinates(n: int, side: int = 32) -> Batch:
    """Images whose red is the column and whose green is the row, in [0, 1]."""
    line = (torch.arange(side) + 0.5) / side
    image = torch.stack([line.expand(side, side), line[:, None].expand(side, side), torch.zeros(side, side)])
    return Batch(image.expand(n, -1, -1, -1), torch.zeros(n, dtype=torch.long), torch.arange(n))


@pytest.mark.parametrize("scale_low", [0.1, 0.3, 0.8])
def test_crops_keep_between_scale_low_and_all_of_the_image(scale_low: float) -> None:
    images = RandomCrop(scale_low=scale_low).transform_batch(coordinates(2000), 0.0, seeded()).images
    wide, high = ((images[:, c, 18, 18] - images[:, c, 14, 14]) * 32 / 4 for c in (0, 1))
    torch.testing.assert_close(wide, high, atol=1e-4, rtol=0)
    area = wide * high
    assert float(area.min()) == pytest.approx(scale_low, abs=0.01)
    assert float(area.max()) == pytest.approx(1, abs=0.01)
    assert float(area.mean()) == pytest.approx((1 + scale_low) / 2, abs=0.02)
    left, right = images[:, 0, 16, 16] - wide / 2 - wide / 64, images[:, 0, 16, 16] + wide / 2
    assert float(left.min()) > -0.02 and float(right.max()) < 1.02, "a crop beyond the image"


def test_off_touches_neither_images_nor_generator() -> None:
    batch, rng = coordinates(2), seeded()
    state = rng.get_state()
    assert RandomCrop().off().transform_batch(batch, 0.0, rng) is batch
    assert torch.equal(rng.get_state(), state)


def test_smaller_hides_more() -> None:
    assert isinstance(RandomCrop.tuning, Tuning) and not RandomCrop.tuning.larger_hides


@pytest.mark.parametrize("scale_low", [0.0, -0.5, 1.1])
def test_an_impossible_scale_is_refused(scale_low: float) -> None:
    with pytest.raises(SpecError, match="needs 0 < scale_low <= 1"):
        DEFENSES.make("random_crop", {"scale_low": scale_low})
