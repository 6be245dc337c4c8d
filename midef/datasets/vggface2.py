"""VGGFace2: 8,631 people of the training part, private data of MIRROR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from midef.datasets.base import DATASETS, Card
from midef.datasets.files.arrangement import Arrangement
from midef.datasets.files.identity_folders import IdentityFolders

BYTES_224 = 3 * 224 * 224


@DATASETS.add("vggface2")
@dataclass(frozen=True, kw_only=True)
class Vggface2(IdentityFolders):
    """VGGFace2: 3.1 million images of the 8,631 people of `train/`; the centred square of each.

    Splits are stored and loaded whole: at 224 px all people take 440 GiB of memory. `identities` takes fewer.

    Source: MIRROR (An et al., NDSS 2022), whose targets and evaluators are networks that others trained on `train/`.
    We differ: which images those networks never saw is not stated; a share of each person's images, drawn by `seed`, is
    reported. The other 500 people, in `test/`, are not used.
    """

    paper: ClassVar[str] = "Cao et al., VGGFace2: a dataset for recognising faces across pose and age, FG 2018"
    people: ClassVar[int] = 8_631
    facts: ClassVar[Card] = Card(
        title="VGGFace2",
        licence="for research; the images carry no licence and belong to their owners; the authors withdrew the set",
        consent="pictures of celebrities and others collected from the internet; nobody was asked",
        source="copies of the release of the Visual Geometry Group, Oxford, which no longer gives it out",
    )

    @override
    def published_sizes(self) -> Mapping[str, int]:
        return self._published_share(3_141_890, self.people)

    @property
    @override
    def _place(self) -> Path:
        place = super()._place
        return place / "train" if (place / "train").is_dir() else place

    @override
    def _arrange(self) -> Arrangement:
        arrangement = super()._arrange()
        if arrangement.problems or not self.is_labelled:
            return arrangement
        if self.identities is None and not self.start and len(arrangement.names) != self.people:
            arrangement.problems.append(
                f"{len(arrangement.names):,} people in {self._place}, {self.people:,} needed; {self._fetch()}; or say "
                "identities for fewer"
            )
        if (size := BYTES_224 * len(arrangement.files) / 2**30) > 50:
            arrangement.notes.append(f"{len(arrangement.files):,} images take {size:,.0f} GiB of memory at 224 px")
        return arrangement
