"""The 128 px thumbnails of FFHQ: public faces without names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from midef.datasets.base import DATASETS, LOCATION, Card
from midef.datasets.files.arrangement import SPLITS, Arrangement
from midef.datasets.files.listed import ListedDataset, centre_box, stem
from midef.datasets.files.pixels import Box
from midef.datasets.files.places import whereabouts
from midef.datasets.files.split import shuffled

CROP_PX, STORED_PX = 88, 128


@DATASETS.add("ffhq_thumbnails")
@dataclass(frozen=True, kw_only=True)
class FfhqThumbnails(ListedDataset):
    """FFHQ's 70,000 thumbnails, the centred 88 of 128 px: public data for CelebA and others.

    Args:
        path: the folder or zip of thumbnails128x128, in any nesting; a folder and its zip have equal keys.
        max_images: at most so many, drawn by `seed`; >= 3; None for all that are there.

    Source: the crop of PLG-MI (Yuan et al., AAAI 2023) and its successors, who use all 70,000.
    """

    paper: ClassVar[str] = "Karras et al., A style-based generator architecture for GANs, CVPR 2019"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    facts: ClassVar[Card] = Card(
        title="FFHQ thumbnails, 128x128",
        licence="CC BY-NC-SA 4.0, NVIDIA; each image keeps the licence its author gave it on Flickr",
        consent="taken from Flickr by licence; the people shown were not asked, and can ask for removal",
        source="https://github.com/NVlabs/ffhq-dataset",
    )
    # Numbered files of a fixed release, all compressed: other images have other sizes, so that 2 GB need not be read.
    reads_content: ClassVar[bool] = False
    is_numbered: ClassVar[bool] = True

    path: str = field(metadata=LOCATION)
    max_images: int | None = None

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_images is not None and self.max_images < len(SPLITS):
            raise ValueError(f"max_images must be at least {len(SPLITS)}, got {self.max_images}")

    @property
    @override
    def is_labelled(self) -> bool:
        return False

    @override
    def members(self) -> frozenset[str]:
        """Numbers of the used images."""
        return frozenset(f"ffhq:{stem(file.name)}" for file in self._ready().files)

    @property
    @override
    def _place(self) -> Path:
        return whereabouts(self.path)

    @property
    @override
    def _box(self) -> Box:
        return centre_box(CROP_PX, (STORED_PX, STORED_PX))

    @property
    @override
    def _expected(self) -> tuple[tuple[int, int], str]:
        return (STORED_PX, STORED_PX), "take the thumbnails128x128 of the release"

    @override
    def _arrange(self) -> Arrangement:
        arrangement = Arrangement()
        if files := self._list(arrangement):
            self._put_public(shuffled(files, self.seed, "images")[: self.max_images], arrangement)
        return arrangement
