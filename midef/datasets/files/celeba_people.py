"""Which people of CelebA are private and which images public, from the annotations alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

Split = Literal["papers", "vmi", "ppa"]
PRIVATE = 1000  # private identities in any split
RICH = 30  # with so many images an identity can be private, with fewer public
PUBLIC_ABOVE = 1000  # number of an identity, not how many there are


def private_identities(identity_of: Mapping[str, int], split: Split) -> list[int]:
    """The at most 1,000 private identities in the order of their labels.

    >>> people = {f"{i:06d}": 7 for i in range(31)} | {f"{i:06d}": 4 for i in range(31, 61)} | {"000061": 2}
    >>> [private_identities(people, split) for split in ("papers", "vmi", "ppa")]
    [[4, 7], [2, 4, 7], [7, 4, 2]]
    """
    count = Counter(identity_of.values())
    if split == "papers":
        return sorted(identity for identity, n in count.items() if n >= RICH)[:PRIVATE]
    if split == "ppa":
        return sorted(count, key=lambda identity: -count[identity])[:PRIVATE]  # stable: first appearance decides ties
    return sorted(count, key=lambda identity: (count[identity], identity))[-PRIVATE:]


def public_images(identity_of: Mapping[str, int], split: Split) -> list[str]:
    """The images that can be public, in the order of the annotations."""
    if split == "papers":
        count = Counter(identity_of.values())
        return [
            number for number, identity in identity_of.items() if identity > PUBLIC_ABOVE and count[identity] < RICH
        ]
    private = set(private_identities(identity_of, split))
    return [number for number, identity in identity_of.items() if identity not in private]
