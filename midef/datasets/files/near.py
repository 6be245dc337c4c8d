"""Copies and near copies among many images, by their pixels and by the 128 bits of their outlines.

Near pairs are found without comparing all with all: two outlines that differ in at most `NEAR_BITS` = 10 of 128 bits
differ in at most one bit of one of their eight chunks of 16 bits, so only images are compared that share a chunk but
for one bit. Every pair within the limit is found (multi-index hashing: Norouzi, Punjani and Fleet, CVPR 2012).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from midef.datasets.files.survey import Seen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR_BITS = 10
"""Of 128. On 4,000 aligned faces of LFW 5 pairs in 8 million are as near; 95 % of faces of LFW and AT&T that were
halved in size, saved as JPEG of quality 30 to 50, or brightened by 30 %, are within it. Not measured on other sets."""
CHUNKS = 8
BLOCK = 2_000_000
"""Pairs compared at once: about 100 MB."""
BLANK = "0" * 32


class Pair(NamedTuple):
    """Two images that look alike.

    Args:
        bits: of 128 in which their outlines differ.
    """

    one: str
    other: str
    bits: int


@dataclass(frozen=True)
class Likeness:
    """What comparing all images found.

    Args:
        exact: names of images that are equal in every pixel: each copy with the first of its kind.
        near: other pairs within `NEAR_BITS`, nearest first; the first of equal images or outlines stands for all.
        blank: images of one colour, or without any outline, which are not compared but by their pixels.
    """

    exact: tuple[tuple[str, str], ...]
    near: tuple[Pair, ...]
    blank: int


def compare(one: Mapping[str, Seen], other: Mapping[str, Seen] | None = None) -> Likeness:
    """Copies and near copies within a set, or between two.

    Args:
        one: what was seen of each image, by name.
        other: the images to compare with; None to compare within `one`.
    """
    exact: list[tuple[str, str]] = []
    firsts: list[tuple[str, Seen, int]] = []
    known: dict[tuple[str, int], str] = {}
    for side, images in enumerate((one, other or {})):
        for name, seen in images.items():
            if other is None and (seen.pixels, 0) in known:
                exact.append((known[seen.pixels, 0], name))
            elif (seen.pixels, side) not in known:
                known[seen.pixels, side] = name
                firsts.append((name, seen, side))
    if other is not None:
        exact = [
            (name, known[pixels, 1]) for (pixels, side), name in known.items() if (pixels, 1) in known and not side
        ]
    near: list[Pair] = []
    by_outline: dict[tuple[str, int], int] = {}
    for i, (name, seen, side) in enumerate(firsts):
        if seen.outline == BLANK:
            continue
        first = by_outline.setdefault((seen.outline, side), i)
        if first != i and other is None:
            near.append(Pair(firsts[first][0], name, 0))
    kept = list(by_outline.values())
    for a, b, bits in near_pairs([firsts[i][1].outline for i in kept]):
        (name_a, seen_a, side_a), (name_b, seen_b, side_b) = firsts[kept[a]], firsts[kept[b]]
        if (other is None or side_a != side_b) and seen_a.pixels != seen_b.pixels:
            near.append(Pair(name_a, name_b, bits))
    blank = sum(seen.outline == BLANK for images in (one, other or {}) for seen in images.values())
    return Likeness(tuple(exact), tuple(sorted(near, key=lambda pair: (pair.bits, pair.one, pair.other))), blank)


def near_pairs(outlines: list[str]) -> list[tuple[int, int, int]]:
    """Positions of all pairs of outlines that differ in at most `NEAR_BITS` bits, and in how many.

    Args:
        outlines: 32 hexadecimal digits each.
    """
    import numpy as np

    if len(outlines) < 2:
        return []
    bits = np.unpackbits(np.frombuffer(bytes.fromhex("".join(outlines)), np.uint8).reshape(-1, 16), axis=1)
    # Every eighth bit into one chunk: neighbours are alike, as in a bright background, and would crowd one chunk.
    spread = np.packbits(bits.reshape(-1, 16, CHUNKS).transpose(0, 2, 1), axis=2)
    chunks = spread.reshape(-1, 2 * CHUNKS).copy().view(np.uint16)
    ones = np.array([i.bit_count() for i in range(1 << 16)], np.uint8)
    found: dict[tuple[int, int], int] = {}
    for column in range(CHUNKS):
        for a, b in _candidates(chunks[:, column]):
            distance = ones[chunks[a] ^ chunks[b]].sum(axis=1, dtype=np.uint8)
            for i in np.flatnonzero(distance <= NEAR_BITS):
                found[min(int(a[i]), int(b[i])), max(int(a[i]), int(b[i]))] = int(distance[i])
    return [(a, b, bits_) for (a, b), bits_ in sorted(found.items())]


def _candidates(keys: NDArray[np.uint16]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Positions of the pairs whose 16-bit keys differ in at most one bit, each pair once, in blocks."""
    import numpy as np

    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.searchsorted(keys, np.arange((1 << 16) + 1))
    for flip in (0, *(1 << bit for bit in range(16))):
        partner = (keys ^ np.uint16(flip)).astype(np.int64)
        low = np.arange(1, len(keys) + 1) if flip == 0 else starts[partner]
        many = np.where((flip == 0) | (keys < partner), starts[partner + 1] - low, 0)
        total = np.cumsum(many)
        for begin in range(0, int(total[-1]), BLOCK):
            places = np.arange(begin, min(begin + BLOCK, int(total[-1])))
            left = np.searchsorted(total, places, side="right")
            right = low[left] + places - (total[left] - many[left])
            yield order[left], order[right]
