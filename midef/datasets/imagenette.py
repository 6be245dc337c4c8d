"""ImageNette: ten classes of ImageNet that are easy to tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from midef.datasets.base import DATASETS, LOCATION, Card
from midef.datasets.files.arrangement import Arrangement
from midef.datasets.files.identity_folders import class_folders
from midef.datasets.files.listed import ListedDataset
from midef.datasets.files.places import whereabouts

PARTS = ("train", "val")


@DATASETS.add("imagenette")
@dataclass(frozen=True, kw_only=True)
class Imagenette(ListedDataset):
    """ImageNette: ten classes, in `train/<class>/` and `val/<class>/`; the images of `val` are reported.

    Args:
        path: folder or zip; any of the published sizes.

    Source: LoFt's backdoor experiment (arXiv 2410.05814, appendix E) trains on it; split and classes are the authors'.
    We differ: `select_fraction` of a class's training images picks checkpoints; images are cut to their centred square.
    """

    paper: ClassVar[str] = "Howard, Imagenette: a smaller subset of 10 easily classified classes from ImageNet, 2019"
    classes: ClassVar[int] = 10
    facts: ClassVar[Card] = Card(
        title="ImageNette",
        licence="lists: Apache-2.0, fast.ai; images of ImageNet, for non-commercial research and education",
        consent="objects and animals; people beside them were not asked",
        source="https://github.com/fastai/imagenette (imagenette2, -320 or -160)",
    )

    path: str = field(metadata=LOCATION)

    @override
    def published_sizes(self) -> Mapping[str, int]:
        return self._published_parts(9_469, 3_925)

    @property
    @override
    def _place(self) -> Path:
        return whereabouts(self.path)

    @override
    def _arrange(self) -> Arrangement:
        arrangement = Arrangement()
        files = self._list(arrangement, levels=3)
        if not files:
            return arrangement
        train, report = (class_folders(files, part) for part in PARTS)
        if train.keys() != report.keys() or len(train) != self.classes:
            arrangement.problems.append(
                f"{len(train)} folders train/<class>/ and {len(report)} folders val/<class>/ in {self._place}, "
                f"{self.classes} of the same names needed; {self._fetch()}"
            )
            return arrangement
        trained, reported = (
            [(file, label) for label, images in enumerate(part.values()) for file in images] for part in (train, report)
        )
        self._put_published(trained, reported, tuple(train), arrangement)
        return arrangement
