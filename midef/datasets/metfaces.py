"""MetFaces: faces in works of art, public images without names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.datasets.base import DATASETS, Card
from midef.datasets.files.public import PublicImages


@DATASETS.add("metfaces")
@dataclass(frozen=True, kw_only=True)
class Metfaces(PublicImages):
    """MetFaces: 1,336 faces of paintings and sculptures at 1024 px; PPA's other public data, far from photographs.

    Source: PPA (Struppek et al., ICML 2022) draws from a generator that learned these images.
    """

    paper: ClassVar[str] = "Karras et al., Training generative adversarial networks with limited data, NeurIPS 2020"
    facts: ClassVar[Card] = Card(
        title="MetFaces",
        licence="CC BY-NC 2.0, NVIDIA; the pictures are of the Metropolitan Museum of Art's open collection (CC0)",
        consent="works of art; most of the people shown are long dead",
        source="https://github.com/NVlabs/metfaces-dataset (images, 1024x1024)",
    )
    released: ClassVar[int | None] = 1_336
    published: ClassVar[int] = 1_336

    @property
    @override
    def _expected(self) -> tuple[tuple[int, int], str] | None:
        return (1024, 1024), "take the aligned images of the release, not the unprocessed ones"
