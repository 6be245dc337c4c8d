"""Image files of a dataset's splits, and their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core.position import steps
from midef.datasets.files.folders import ImageFile, reader
from midef.datasets.files.pixels import Box, Crop, open_rgb, pixel_id, reason_of, square, unreadable_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLITS = ("train", "select", "report")
NEEDED = 3  # one image for each split


@dataclass
class Arrangement:
    """Images and labels of each split.

    Args:
        files: all that can change the splits.
        names: identities by label.
        boxes: of single images, by name: left, top, right, bottom, in place of the crop of the set.
        notes: what is not used, counted, with an example.
    """

    names: tuple[str, ...] = ()
    files: list[ImageFile] = field(default_factory=list)
    lists: dict[str, bytes] = field(default_factory=dict)
    splits: dict[str, list[tuple[ImageFile, int]]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    boxes: dict[str, Box] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def named_splits(self) -> dict[str, list[tuple[str, int]]]:
        """Name and label of each image of each split."""
        return {split: [(file.name, label) for file, label in part] for split, part in self.splits.items()}


def read_images(
    root: Path, files: Sequence[ImageFile], resolution_px: int, crop: Crop, boxes: Mapping[str, Box] | None = None
) -> tuple[NDArray[np.uint8], dict[str, str], list[str]]:
    """Pixels [N, 3, H, W], the `pixel_id` of each image by name, and a line for each that cannot be read (its pixels
    stay 0).

    Args:
        root: folder or archive of the files.
        crop: what is seen of each image.
        boxes: of single images, by name, in its place.
    """
    import numpy as np

    pixels = np.zeros((len(files), 3, resolution_px, resolution_px), np.uint8)
    ids, failures = {}, []
    with reader(root) as read:  # one thread: for small images Pillow spends its time in Python
        for i, file in enumerate(steps(files)):
            try:
                image = open_rgb(read(file))
                pixels[i] = square(image, resolution_px, (boxes or {}).get(file.name, crop))
            except unreadable_errors() as error:
                failures.append(f"{file.name}: {reason_of(error)}")
            else:
                ids[file.name] = pixel_id(image)
    return pixels, ids, failures
