"""The 128 px thumbnails of FFHQ, cut to the face: public faces without names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from midef.datasets.base import DATASETS, Card
from midef.datasets.files.listed import stem
from midef.datasets.files.pixels import Crop, centre_box
from midef.datasets.files.public import PublicImages

CROP_PX, STORED_PX = 88, 128


@DATASETS.add("ffhq_thumbnails")
@dataclass(frozen=True, kw_only=True)
class FfhqThumbnails(PublicImages):
    """FFHQ's 70,000 thumbnails, the centred 88 of 128 px: public data for CelebA and others at 64 px.

    Whole images, of 1024 px and less, are the set `ffhq`.

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
    is_numbered: ClassVar[bool] = True
    released: ClassVar[int | None] = 70_000
    published: ClassVar[int] = 70_000

    @override
    def members(self) -> frozenset[str]:
        """Numbers of the used images."""
        return frozenset(f"ffhq:{stem(file.name)}" for file in self._ready().files)

    @property
    @override
    def _box(self) -> Crop:
        return centre_box(CROP_PX, (STORED_PX, STORED_PX))

    @property
    @override
    def _expected(self) -> tuple[tuple[int, int], str] | None:
        return (STORED_PX, STORED_PX), "take the thumbnails128x128 of the release"
