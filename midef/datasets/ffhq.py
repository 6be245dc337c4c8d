"""FFHQ as whole images: public faces without names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from typing_extensions import override

from midef.datasets.base import DATASETS, Card
from midef.datasets.ffhq_thumbnails import FfhqThumbnails


@DATASETS.add("ffhq")
@dataclass(frozen=True, kw_only=True)
class Ffhq(FfhqThumbnails):
    """FFHQ's 70,000 images, whole: public data at 112, 160 and 224 px.

    Args:
        stored_px: side of the files: 1024 as released, 256 as resized copies have it, 128 for the thumbnails.

    Source: PPA, MIRROR and IF-GMI draw from generators that learned these images; LoFt's conditional GAN learns the
    256 px copy.
    We differ: at 224 px images are resized from the stored size at once; LoFt trains at 256 px and resizes what the
    generator makes.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {str(px): {"stored_px": px} for px in (1024, 256, 128)}
    facts: ClassVar[Card] = Card(
        title="FFHQ",
        licence=FfhqThumbnails.facts.licence,
        consent=FfhqThumbnails.facts.consent,
        source=f"{FfhqThumbnails.facts.source} (images1024x1024, 89 GB)",
    )

    stored_px: Literal[1024, 256, 128] = 1024

    @property
    @override
    def _box(self) -> None:
        return None

    @property
    @override
    def _expected(self) -> tuple[tuple[int, int], str] | None:
        return (self.stored_px, self.stored_px), f"say stored_px, or bring the {self.stored_px} px images"
