"""Stanford Dogs: 120 breeds, private data of PPA beside faces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from midef.core.errors import DataError, few
from midef.datasets.base import DATASETS, LOCATION, Card
from midef.datasets.files.arrangement import Arrangement
from midef.datasets.files.limits import text_of
from midef.datasets.files.listed import ListedDataset
from midef.datasets.files.matlab import plain, read_matlab
from midef.datasets.files.pixels import Box, Crop, Stretched
from midef.datasets.files.places import find_in, whereabouts
from midef.datasets.files.split import ninety_ten

LISTS = ("train_list.mat", "test_list.mat")
IMAGES = ("Images", "Images.zip")


@DATASETS.add("stanford_dogs")
@dataclass(frozen=True, kw_only=True)
class StanfordDogs(ListedDataset):
    """Stanford Dogs: 20,580 photographs of 120 breeds, 90 % of which train, by the published permutation.

    Args:
        root: folder with `Images/` or its zip, `train_list.mat` and `test_list.mat` (there or in `lists/`) and, for
            `cropped`, `Annotation/`; never written to.
        cropped: the first annotated box of each photograph instead of all of it; both sides are resized.

    Source: PPA (Struppek et al., ICML 2022), released code: the training list, then the test list, in their order; the
    official split is ignored. Its published target sees whole photographs.
    We differ: PPA's evaluator and its distances see the cropped photographs; here target and evaluator see one variant.
    PPA has no images that pick checkpoints: here `select_fraction` of a breed's training images does.
    """

    paper: ClassVar[str] = "Khosla et al., Novel dataset for fine-grained image categorization, CVPR workshops 2011"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"uncropped": {}, "cropped": {"cropped": True}}
    breeds: ClassVar[int] = 120
    facts: ClassVar[Card] = Card(
        title="Stanford Dogs",
        licence="images of ImageNet, for non-commercial research and education; they belong to their owners",
        consent="dogs; people beside them were not asked",
        source="http://vision.stanford.edu/aditya86/ImageNetDogs (images.tar, lists.tar, annotation.tar, unpacked)",
    )

    root: str = field(metadata=LOCATION)
    cropped: bool = False

    @override
    def published_sizes(self) -> Mapping[str, int]:
        return self._published_parts(18_522, 2_058)

    @property
    @override
    def _place(self) -> Path:
        root = whereabouts(self.root)
        return next((root / name for name in IMAGES if (root / name).exists()), root / IMAGES[0])

    @property
    @override
    def _box(self) -> Crop:
        return Stretched()

    @override
    def _arrange(self) -> Arrangement:
        arrangement = Arrangement()
        entries = self._entries(arrangement)
        by_name = {file.name: file for file in self._list(arrangement, levels=2)}
        if arrangement.problems:
            return arrangement
        if missing := [name for name, _ in entries if name not in by_name]:
            arrangement.problems.append(
                f"{len(missing)} of the {len(entries)} images of the lists are not in {self._place}: {few(missing)}; "
                f"{self._fetch()}"
            )
            return arrangement
        breed_of = {label: name.partition("/")[0] for name, label in reversed(entries)}
        train, report = ninety_ten([(by_name[name], label) for name, label in entries])
        self._put_published(train, report, [breed_of[label] for label in range(self.breeds)], arrangement)
        if self.cropped:
            self._put_boxes(arrangement)
        return arrangement

    def _entries(self, arrangement: Arrangement) -> list[tuple[str, int]]:
        """Path and label of each image, the training list first."""
        entries: list[tuple[str, int]] = []
        for name in LISTS:
            try:
                path = find_in(whereabouts(self.root), ("", "lists"), (name,), self._fetch())
                files, labels = read_matlab(path, ("file_list", "labels"))
                entries += [(str(plain(f)), int(plain(n)) - 1) for f, n in zip(files, labels, strict=True)]
            except (DataError, LookupError, TypeError, ValueError, OverflowError) as error:
                if str(error) not in arrangement.problems:
                    arrangement.problems.append(str(error))
        labels = sorted({label for _, label in entries})
        if not arrangement.problems and labels != list(range(self.breeds)):
            arrangement.problems.append(f"{len(labels)} breeds in the lists of {self.root}, {self.breeds} needed")
        if double := len(entries) - len({name for name, _ in entries}):
            arrangement.problems.append(f"{double} images are twice in the lists of {self.root}; {self._fetch()}")
        return entries

    def _put_boxes(self, arrangement: Arrangement) -> None:
        """The first annotated box of each image."""
        folder = whereabouts(self.root) / "Annotation"
        wrong = []
        for file in arrangement.files:
            place = folder / file.name.rpartition(".")[0]
            try:
                arrangement.boxes[file.name] = first_box(text_of(place))
            except (OSError, ValueError) as error:
                wrong.append(f"{place.relative_to(folder)} ({getattr(error, 'strerror', None) or error})")
        if wrong:
            arrangement.problems.append(
                f"{len(wrong)} of {len(arrangement.files)} annotations cannot be read in {folder}: {few(wrong)}; "
                f"{self._fetch()}"
            )
        boxes = (f"{name} {box}\n" for name, box in sorted(arrangement.boxes.items()))
        arrangement.lists["boxes"] = "".join(boxes).encode()


def first_box(annotation: bytes) -> Box:
    """Left, top, right, bottom of the first `bndbox` of an annotation.

    Raises:
        ValueError: if there is none, or it is empty.

    >>> first_box(b"<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>")
    (3, 4, 30, 40)
    """
    block = re.search(rb"<bndbox>(.*?)</bndbox>", annotation, re.DOTALL)
    found = (
        [re.search(rb"<%s>\s*(\d+)\s*</" % tag, block[1]) for tag in (b"xmin", b"ymin", b"xmax", b"ymax")]
        if block
        else []
    )
    values = [int(match[1]) for match in found if match]
    if len(values) != 4 or values[0] >= values[2] or values[1] >= values[3]:
        raise ValueError("no box in it")
    return (values[0], values[1], values[2], values[3])
