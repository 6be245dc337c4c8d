"""The dogs of AFHQ: public images for Stanford Dogs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from midef.datasets.base import DATASETS, Card
from midef.datasets.files.folders import ImageFile
from midef.datasets.files.public import PublicImages

FOLDER = "dog"


@DATASETS.add("afhq_dogs")
@dataclass(frozen=True, kw_only=True)
class AfhqDogs(PublicImages):
    """AFHQ's dogs, faces at 512 px: the images in folders called `dog`, or all where there is no such folder.

    Source: PPA (Struppek et al., ICML 2022) draws from a generator that learned the training part of these images.
    We differ: training and test part are used alike; nothing is reported on public images.
    """

    paper: ClassVar[str] = "Choi et al., StarGAN v2: diverse image synthesis for multiple domains, CVPR 2020"
    facts: ClassVar[Card] = Card(
        title="AFHQ dogs",
        licence="CC BY-NC 4.0, NAVER",
        consent="animals; photographs from websites whose terms allow it",
        source="https://github.com/clovaai/stargan-v2 (afhq, 512x512)",
    )
    published: ClassVar[int] = 5_239

    @property
    @override
    def _expected(self) -> tuple[tuple[int, int], str] | None:
        return (512, 512), "take the 512 px images of the release"

    @override
    def _used(self, files: Sequence[ImageFile]) -> Sequence[ImageFile]:
        return [file for file in files if FOLDER in file.name.split("/")[:-1]] or files
