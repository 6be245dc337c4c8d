"""Image files of a dataset's splits, and their pixels."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from midef.datasets.files.folders import ImageFile, reader
from midef.datasets.files.pixels import Box, decode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLITS = ("train", "select", "report")
NEEDED = 3  # one image for each split
NAMED = 10  # so many names in an error


@dataclass
class Arrangement:
    """Images and labels of each split.

    Args:
        files: all that can change the splits.
        names: identities by label.
    """

    names: tuple[str, ...] = ()
    files: list[ImageFile] = field(default_factory=list)
    lists: dict[str, bytes] = field(default_factory=dict)
    splits: dict[str, list[tuple[ImageFile, int]]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    problems: list[str] = field(default_factory=list)


def read_images(
    root: Path, files: Sequence[ImageFile], resolution_px: int, crop: Box | None
) -> tuple[NDArray[np.uint8], set[str], list[str]]:
    """Pixels [N, 3, H, W], content ids, and a line for each image that cannot be read (its pixels stay 0)."""
    import numpy as np
    from PIL.Image import DecompressionBombError

    pixels = np.zeros((len(files), 3, resolution_px, resolution_px), np.uint8)
    content, failures = set(), []
    with reader(root) as read:  # one thread: for small images Pillow spends its time in Python
        for i, file in enumerate(files):
            try:
                data = read(file)
                pixels[i] = decode(data, resolution_px, crop)
            except (
                OSError, ValueError, SyntaxError, EOFError, struct.error, DecompressionBombError,  # from Pillow
                zipfile.BadZipFile, zlib.error, RuntimeError,  # from zipfile; the last: encrypted
            ) as error:  # fmt: skip
                reason = re.sub(r" <_io\.BytesIO[^>]*>", "", str(error)) or type(error).__name__
                failures.append(f"{file.name}: {reason}")
            else:
                content.add(f"{zlib.crc32(data):08x}:{len(data)}")
    return pixels, content, failures
