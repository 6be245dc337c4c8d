"""Multiplications of StyleGAN2's networks: those the literature states, and those that torch counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from midef.attacks import PRIORS
from midef.attacks.priors.networks.style_gan2 import StyleGenerator
from midef.attacks.priors.networks.style_gan2_discriminator import StyleDiscriminator
from midef.attacks.priors.networks.style_macs import of_discriminator, of_synthesis


# Derived from the published description of the network: GMAC of an image, as precise as written.
@pytest.mark.parametrize(
    ("px", "base", "gmac"), [(1024, 32768, "75.4"), (512, 32768, "60.2"), (256, 32768, "45.4"), (256, 16384, "15.0")]
)
def test_the_published_sizes(px: int, base: int, gmac: str) -> None:
    assert f"{of_synthesis(px, base, 512) / 1e9:.1f}" == gmac


def test_a_prior_says_what_its_generator_takes() -> None:
    published = PRIORS.make("style_gan2", {"weights": "ffhq"})
    assert published.gflop(224) == pytest.approx(2 * 75.4, abs=0.1), "whatever the target takes"
    own = PRIORS.make("style_gan2", {"resolution_px": 256})
    assert own.gflop(224) == pytest.approx(2 * 15.0, abs=0.1)
    assert own.learned_gflop(224) > own.gflop(224)


@pytest.mark.parametrize(("px", "base", "most"), [(16, 256, 16), (32, 512, 64), (64, 512, 24)])
def test_torch_counts_as_many(px: int, base: int, most: int) -> None:
    generator, discriminator = StyleGenerator(8, 1, px, base, most), StyleDiscriminator(px, base, most)
    ws = torch.zeros(1, generator.num_ws, 8)
    with FlopCounterMode(display=False) as drawn:
        generator.synthesis(ws)
    with FlopCounterMode(display=False) as judged:
        discriminator(torch.zeros(1, 3, px, px))
    # torch counts the scales of the demodulation as well, and a filter of n pixels as one of n + 3
    assert drawn.get_total_flops() / 2 == pytest.approx(of_synthesis(px, base, most, 8), rel=0.03)
    assert judged.get_total_flops() / 2 == pytest.approx(of_discriminator(px, base, most), rel=0.03)
