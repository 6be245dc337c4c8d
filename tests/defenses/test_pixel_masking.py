from __future__ import annotations

import pytest
import torch
from torch import Generator

from midef.core import SpecError
from midef.defenses import DEFENSES, Batch
from midef.defenses.pixel_masking import PixelMasking, masked


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def test_the_share_of_masked_pixels_is_uniform_over_images() -> None:
    images = torch.full((2000, 3, 32, 32), 2.0)  # no noise reaches it
    shares = (masked(images, share=(0.1, 0.6), rng=seeded()) != 2).any(dim=1).double().mean(dim=(1, 2))
    assert 0.05 < float(shares.min()) < 0.12 and 0.58 < float(shares.max()) < 0.66
    for quarter in (0.25, 0.5, 0.75):
        assert float((shares < 0.1 + 0.5 * quarter).double().mean()) == pytest.approx(quarter, abs=0.04)


def test_masked_pixels_are_noise_in_all_channels_and_others_stay() -> None:
    images = 2 + torch.rand(50, 3, 32, 32, generator=seeded(1))
    found = masked(images, share=(0.4, 0.4), rng=seeded())
    changed = found != images
    assert torch.equal(changed.any(dim=1), changed.all(dim=1))
    values = found.movedim(1, -1)[changed.all(dim=1)]
    assert values.min() >= 0 and values.max() < 1
    deciles = torch.histc(values, bins=10, min=0, max=1) / values.numel()
    assert (deciles - 0.1).abs().max() < 0.01
    assert torch.corrcoef(values.T).triu(1).abs().max() < 0.03, "channels share their noise"
    pixels = changed.all(dim=1).double()
    assert float((pixels[..., 1:] * pixels[..., :-1]).mean()) == pytest.approx(0.16, abs=0.01), "pixels are not alone"


def test_a_share_of_one_masks_everything() -> None:
    images = torch.full((2, 3, 8, 8), 2.0)
    assert (masked(images, share=(1.0, 1.0), rng=seeded()) < 1).all()


def test_off_touches_neither_images_nor_generator() -> None:
    batch = Batch(torch.rand(2, 3, 8, 8), torch.zeros(2, dtype=torch.long), torch.arange(2))
    rng = seeded()
    state = rng.get_state()
    assert PixelMasking().off().transform_batch(batch, 0.0, rng) is batch
    assert torch.equal(rng.get_state(), state)


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.4), (-0.1, 0.4), (0.1, 1.1)])
def test_an_impossible_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(SpecError, match="needs 0 <= share_low <= share_high <= 1"):
        DEFENSES.make("pixel_masking", {"share_low": low, "share_high": high})
