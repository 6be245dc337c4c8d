"""How many images are drawn together, from what their largest feature takes."""

from __future__ import annotations

import pytest
import torch

from midef.attacks.latent_search.memory import CPU_BYTES, drawn_at_once
from midef.attacks.priors.networks.dcgan import Generator
from midef.attacks.priors.networks.style_gan2 import StyleGenerator


@pytest.mark.parametrize(("px", "channels"), [(64, 64), (256, 128), (1024, 32)])
def test_a_style_gan_draws_as_many_together_as_memory_holds(px: int, channels: int) -> None:
    """1,024 images of 1,024 px, as BREP-MI draws its pool, would take 550 GB."""
    with torch.device("meta"):
        generator = StyleGenerator(8, 1, px, 32768 if px > 64 else 4096, 512)
    feature = channels * px**2
    expected = min(1024, CPU_BYTES // (4 * 4 * feature))
    assert drawn_at_once(1024, generator) == expected == {64: 1024, 256: 32, 1024: 8}[px]


def test_generators_of_the_papers_resolution_are_not_cut() -> None:
    with torch.device("meta"):
        assert drawn_at_once(1024, Generator(100, 64, 64)) == 1024
        assert drawn_at_once(1024, Generator(100, 256, 64)) == 256
