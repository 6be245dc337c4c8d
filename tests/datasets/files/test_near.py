"""Copies and near copies: all that are within the limit, and none else."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from midef.datasets.files import near
from midef.datasets.files.near import NEAR_BITS, compare, near_pairs
from midef.datasets.files.survey import Seen, look_at


def outlines(count: int, seed: int = 0) -> list[str]:
    """Random outlines, and beside each tenth some that differ from it in 0 to 14 bits."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        bits = rng.integers(0, 2, 128)
        made.append(bits)
        for flips in range(15) if i % 10 == 0 else ():
            other = bits.copy()
            other[rng.permutation(128)[:flips]] ^= 1
            made.append(other)
    return [np.packbits(bits).tobytes().hex() for bits in made]


def apart(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("block", [1, 7, 2_000_000])
def test_every_pair_within_the_limit_is_found(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """By comparing all with all."""
    monkeypatch.setattr(near, "BLOCK", block if block > 7 else block * 100)
    made = outlines(40)
    distances = {(a, b): apart(made[a], made[b]) for a, b in combinations(range(len(made)), 2)}
    expected = [(a, b, bits) for (a, b), bits in distances.items() if bits <= NEAR_BITS]
    assert near_pairs(made) == sorted(expected) and len(expected) > 100
    assert near_pairs(made[:1]) == near_pairs([]) == []


def photo(seed: int) -> Image.Image:
    """Smooth random colours, as a photo out of focus."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


CHANGED = {
    "compressed": lambda image: as_jpeg(image, 40),
    "half the size": lambda image: image.resize((48, 48), Image.Resampling.BILINEAR),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_images_that_were_changed_a_little_are_found_and_others_are_not(change: str) -> None:
    own = {f"own/{i}": look_at(photo(i)) for i in range(30)}
    other = {f"other/{i}": look_at(CHANGED[change](photo(i))) for i in range(15, 45)}
    found = compare(own, other)
    assert found.exact == ()
    assert sorted((pair.one, pair.other) for pair in found.near) == [(f"own/{i}", f"other/{i}") for i in range(15, 30)]


def seen(pixels: str, outline: str) -> Seen:
    return Seen(pixels, outline, (8, 8))


def test_copies_are_told_apart_from_what_looks_alike() -> None:
    a, b, blank = "0f" * 16, "0f" * 15 + "0e", "0" * 32
    images = {"1": seen("p", a), "2": seen("p", a), "3": seen("q", a), "4": seen("r", b), "5": seen("s", blank)}
    found = compare({**images, "6": seen("t", blank)})
    assert found.exact == (("1", "2"),) and found.blank == 2
    assert found.near == (("1", "3", 0), ("1", "4", 1))
    found = compare({"1": images["1"], "4": images["4"]}, {"2": images["2"], "3": images["3"], "5": images["5"]})
    assert found.exact == (("1", "2"),)
    assert found.near == (("4", "2", 1),)
