"""The suite of architectures, and what must hold for the small siblings of ours."""

from __future__ import annotations

import re

import pytest

from midef.models import ARCHITECTURES
from midef.nn.network import count_parameters
from midef.testing import ArchitectureContract
from midef.testing.architectures import on_paper

NAMES = ARCHITECTURES.names()
TINY = [name for name in NAMES if name.endswith("_tiny")]


class TestArchitectures(ArchitectureContract):
    pass


def test_there_is_a_small_sibling_of_every_family() -> None:
    families = {ARCHITECTURES.get(name).family for name in NAMES}
    assert {ARCHITECTURES.get(name).family for name in NAMES if ARCHITECTURES.get(name).is_small} == families


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("resolution_px", [32, 64])
def test_tiny_siblings_are_tiny_and_have_the_blocks_of_the_large_one(name: str, resolution_px: int) -> None:
    assert ARCHITECTURES.get(name).is_small
    assert count_parameters(on_paper(name, 40, resolution_px)) < 1_500_000  # one has features for each class
    tiny, large = ARCHITECTURES.make(name).facts(), ARCHITECTURES.make(name.removesuffix("_tiny")).facts()
    assert (tiny.family, tiny.has_batch_norm) == (large.family, large.has_batch_norm)
    assert [bool(stage) for stage in tiny.skip_stages] == [bool(stage) for stage in large.skip_stages]
    assert chain(tiny.blocks) == chain(large.blocks) and chain(tiny.taps) == chain(large.taps)


def chain(blocks: tuple[str, ...]) -> list[str]:
    """The kinds of blocks in their order: `layer3_0`, `layer3_1` are one kind, whatever the depth."""
    return list(dict.fromkeys(re.sub(r"_\d+$", "", block) for block in blocks))
