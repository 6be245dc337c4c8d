"""Published sets of public images: nobody has a name, all images are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from midef.datasets.base import LOCATION
from midef.datasets.files.arrangement import SPLITS, Arrangement
from midef.datasets.files.folders import ImageFile
from midef.datasets.files.listed import ListedDataset
from midef.datasets.files.places import whereabouts
from midef.datasets.files.split import shuffled


@dataclass(frozen=True, kw_only=True)
class PublicImages(ListedDataset):
    """Base of the sets of square public images of one size, in any nesting.

    Args:
        path: folder or zip, relative to the working directory; a folder and its zip have equal keys.
        max_images: at most so many, drawn by `seed`; >= 3; None for all that are there.
    """

    # Files of a fixed release, all compressed: other images have other sizes, so that gigabytes need not be read.
    reads_content: ClassVar[bool] = False
    released: ClassVar[int | None] = None
    """How many images there are in all; None where releases differ."""
    published: ClassVar[int]
    """Images of the release that the papers used."""

    path: str = field(metadata=LOCATION)
    max_images: int | None = None

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_images is not None and self.max_images < len(SPLITS):
            raise ValueError(f"max_images must be at least {len(SPLITS)}, got {self.max_images}")

    @override
    def published_sizes(self) -> Mapping[str, int]:
        return {"train": min(self.published, self.max_images or self.published)}

    @property
    @override
    def is_labelled(self) -> bool:
        return False

    @property
    @override
    def _place(self) -> Path:
        return whereabouts(self.path)

    def _used(self, files: Sequence[ImageFile]) -> Sequence[ImageFile]:
        """The images of this set among the files of the place."""
        return files

    @override
    def _arrange(self) -> Arrangement:
        arrangement = Arrangement()
        if files := self._list(arrangement):
            used = self._used(files)
            if self.released is not None and len(used) != self.released:
                arrangement.notes.append(f"{len(used):,} images here, {self.released:,} in the release")
            self._put_public(shuffled(used, self.seed, "images")[: self.max_images], arrangement)
        return arrangement
