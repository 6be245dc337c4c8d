"""The pool's latents, truncation and what the target is shown, against numbers and formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from midef.attacks.latent_search.styles import StylePool, pool_latents, shown
from midef.attacks.priors.networks.style_gan2 import StyleGenerator


def generator(**other: float) -> StyleGenerator:
    torch.manual_seed(0)
    made = StyleGenerator(8, 2, 32, 64, 8, **other)  # type: ignore[arg-type]
    made.mapping.w_avg.copy_(torch.linspace(-1, 1, 8))
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("seed", [42, 2**32 + 42], ids=["42", "42 modulo 2^32"])
def test_a_smaller_pool_is_the_beginning_of_a_larger_one(seed: int) -> None:
    pool = pool_latents(seed, 500, 512)
    assert np.array_equal(pool.numpy(), np.random.RandomState(42).randn(500, 512).astype(np.float32))
    assert torch.equal(pool_latents(seed, 200, 512), pool[:200])
    assert pool[0, 0].item() == pytest.approx(0.4967141530112327), "NumPy's legacy generator, seed 42"


def test_the_surest_are_different_entries_and_ties_keep_their_order() -> None:
    scores = torch.tensor([[0.2, 0.1], [0.9, 0.1], [0.5, 0.1], [0.9, 0.1]])
    pool = StylePool(torch.arange(4.0)[:, None], scores)
    assert pool.surest(0, 3).flatten().tolist() == [1, 3, 2]
    assert pool.surest(1, 4).flatten().tolist() == [0, 1, 2, 3]


def test_an_entry_of_which_the_target_says_no_number_comes_last() -> None:
    scores = torch.tensor([[torch.nan, 0.1], [0.2, torch.nan], [0.5, 0.1]])
    pool = StylePool(torch.arange(3.0)[:, None], scores)
    assert pool.surest(0, 3).flatten().tolist() == [2, 1, 0]
    assert pool.surest(1, 2).flatten().tolist() == [0, 2]


def test_the_target_is_shown_the_priors_view_in_0_to_1_clipped_where_it_is_asked_for() -> None:
    made = generator(crop=0.75, shown_px=12)
    images = 4 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) - 2
    found = shown(made, images)
    resized = torch.nn.functional.interpolate(
        images[:, :, 4:28, 4:28], size=(12, 12), mode="bilinear", antialias=True, align_corners=False
    )
    assert torch.allclose(found, resized / 2 + 0.5, atol=1e-5) and found.min() < 0 and found.max() > 1
    clipped = shown(made, images, clip=True)
    assert clipped.min() >= 0 and clipped.max() <= 1
    assert not torch.allclose(clipped, found.clamp(0, 1), atol=1e-3), "clipped before it is resized"
