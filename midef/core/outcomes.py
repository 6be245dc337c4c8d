"""Outcomes per image: which images of a metric succeeded, small enough to stand in a result row.

Two models that were asked about the same images are compared image by image, which is far more certain than comparing
two accuracies. numpy is imported where it is used, so that importing `midef.core` stays fast.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_FORMAT = "1"
_HEADER = struct.Struct("<IIBBI")  # identities, images, bytes of a step and of a count, bytes of the packed runs
_UNSIGNED = {1: "<u1", 2: "<u2", 4: "<u4"}
_DIGEST = 16


def digest_of(*arrays: Any) -> str:
    """Digest of arrays: 16 hex digits that are equal for equal shapes, types and values.

    Args:
        arrays: what names the images, in their order: pixels and labels, or identities and restarts.
    """
    import numpy as np

    total = hashlib.blake2b(digest_size=_DIGEST // 2)
    for given in arrays:
        array = np.ascontiguousarray(given)
        total.update(f"{array.dtype.str}{array.shape};".encode())
        total.update(array.view(np.uint8).reshape(-1).data if array.size else b"")
    return total.hexdigest()


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Success of each image of one metric of one cell, ordered by identity. Do not change the arrays.

    Args:
        images: digest of which images these are, in which order.
        identities: whose image each is [N], ascending.
        hits: success of each [N], bool.
    """

    images: str
    identities: np.ndarray
    hits: np.ndarray

    @classmethod
    def of(cls, hits: Any, identities: Any, images: str) -> Outcomes:
        """Outcomes of images in any order; those of one identity keep theirs.

        Args:
            hits: success 0/1 of each image [N].
            identities: whose image each is [N], integers >= 0.
            images: digest of which images these are, see `digest_of`.

        Raises:
            ValueError: for a negative identity, which is no identity.
        """
        import numpy as np

        labels = np.asarray(identities)
        if labels.size and labels.min() < 0:
            raise ValueError(f"identities are numbered from 0, got {labels.min()}")
        order = np.argsort(labels, kind="stable")
        return cls(images, labels[order].astype(np.int64), np.asarray(hits).astype(bool)[order])

    def is_paired_with(self, other: Outcomes) -> bool:
        """True if both are about the same images in the same order."""
        import numpy as np

        if self.images != other.images:
            return False
        return self.identities is other.identities or np.array_equal(self.identities, other.identities)

    @property
    def text(self) -> str:
        """Letters and digits that `read` reads back: 3,000 images of 530 people in 0.9 kB."""
        import numpy as np

        labels, counts = np.unique(self.identities, return_counts=True)
        runs = [_smallest(values) for values in (np.diff(labels, prepend=0), counts)]
        # Apart: a table of frequencies for both would serve neither.
        people = zlib.compress(b"".join(run.tobytes() for run in runs), 9)
        hits = zlib.compress(np.packbits(self.hits).tobytes(), 9)
        header = _HEADER.pack(len(labels), len(self.hits), *(run.itemsize for run in runs), len(people))
        return f"{_FORMAT}{self.images:0>{_DIGEST}}{base64.b64encode(header + people + hits).decode()}"


def _smallest(values: np.ndarray) -> np.ndarray:
    """Unsigned integers in the fewest bytes that hold them."""
    import numpy as np

    largest = int(values.max(initial=0))
    return values.astype(np.dtype(_UNSIGNED[1 if largest < 2**8 else 2 if largest < 2**16 else 4]))


@lru_cache(256)
def read(text: str) -> Outcomes | None:
    """Outcomes that stand in a row; None for "" (a row without), and for what this version cannot read.

    Args:
        text: column `outcomes` of a row.
    """
    import numpy as np

    if not text.startswith(_FORMAT):
        return None
    images, rest = text[1 : 1 + _DIGEST], text[1 + _DIGEST :]
    try:
        packed = base64.b64decode(rest, validate=True)
        n_identities, n_images, *sizes, split = _HEADER.unpack_from(packed)
        identities = _identities(packed[_HEADER.size :][:split], n_identities, n_images, *sizes)
        bits = zlib.decompress(packed[_HEADER.size + split :])
        hits = np.unpackbits(np.frombuffer(bits, np.uint8), count=n_images).astype(bool)
    except (binascii.Error, zlib.error, struct.error, ValueError, KeyError):
        return None
    if len(hits) != n_images:
        return None
    hits.setflags(write=False)
    return Outcomes(images, identities, hits)


@lru_cache(64)
def _identities(packed: bytes, n_identities: int, n_images: int, *sizes: int) -> np.ndarray:
    """Whose image each is [N]; one array for all outcomes of the same images.

    Args:
        packed: steps from identity to identity, then images of each.
        n_identities, n_images: how many.
        sizes: bytes of a step, and of a number of images.
    """
    import numpy as np

    people = zlib.decompress(packed)
    start, runs = 0, []
    for size in sizes:
        runs.append(np.frombuffer(people, np.dtype(_UNSIGNED[size]), n_identities, start).astype(np.int64))
        start += size * n_identities
    steps, counts = runs
    if counts.sum() != n_images:  # before memory is asked for that many
        raise ValueError(f"expected identities of {n_images} images, got {counts.sum()}")
    identities = np.repeat(np.cumsum(steps), counts)
    identities.setflags(write=False)
    return identities
