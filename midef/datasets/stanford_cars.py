"""Stanford Cars: 196 models of cars, private data of TL-DMI beside faces and dogs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from midef.core.errors import DataError, few
from midef.datasets.base import DATASETS, LOCATION, Card
from midef.datasets.files.arrangement import Arrangement
from midef.datasets.files.listed import ListedDataset
from midef.datasets.files.matlab import plain, read_matlab
from midef.datasets.files.pixels import Crop, Stretched
from midef.datasets.files.places import find_in, whereabouts

ANNOTATIONS = {"cars_train": "cars_train_annos.mat", "cars_test": "cars_test_annos_withlabels.mat"}
NAMES = "cars_meta.mat"


@DATASETS.add("stanford_cars")
@dataclass(frozen=True, kw_only=True)
class StanfordCars(ListedDataset):
    """Stanford Cars: 16,185 photographs of 196 models; the official test images are reported.

    Args:
        root: folder with `cars_train/`, `cars_test/` and, there or in `devkit/`, `cars_train_annos.mat`,
            `cars_test_annos_withlabels.mat` and `cars_meta.mat`; never written to.

    Source: TL-DMI (Ho et al., CVPR 2024), table 7, names the set; the split is that of its authors.
    We differ: neither TL-DMI's split nor its crop is stated; here the official split, whole photographs, both sides
    resized. `select_fraction` of a model's training images picks checkpoints.
    """

    paper: ClassVar[str] = (
        "Krause et al., 3D object representations for fine-grained categorization, ICCV workshops 2013"
    )
    models: ClassVar[int] = 196
    facts: ClassVar[Card] = Card(
        title="Stanford Cars",
        licence="for research, no formal licence; the images belong to their owners",
        consent="cars; people and number plates beside them were not asked",
        source="copies of https://ai.stanford.edu/~jkrause/cars/car_dataset.html, which is no longer served",
    )

    root: str = field(metadata=LOCATION)

    @override
    def published_sizes(self) -> Mapping[str, int]:
        return self._published_parts(8_144, 8_041)

    @property
    @override
    def _place(self) -> Path:
        return whereabouts(self.root)

    @property
    @override
    def _box(self) -> Crop:
        return Stretched()

    @override
    def _arrange(self) -> Arrangement:
        arrangement = Arrangement()
        by_name = {file.name: file for file in self._list(arrangement, levels=2)}
        if arrangement.problems:
            return arrangement
        parts = [self._entries(folder, arrangement) for folder in ANNOTATIONS]
        names = [str(name) for name in self._table(NAMES, "class_names", arrangement)]
        labels = sorted({label for part in parts for _, label in part})
        if not arrangement.problems and not len(names) == len(labels) == labels[-1] + 1 == self.models:
            arrangement.problems.append(
                f"{len(names)} models named and {len(labels)} annotated in {self._place}, {self.models} needed"
            )
        missing = [name for part in parts for name, _ in part if name not in by_name]
        if missing:
            arrangement.problems.append(
                f"{len(missing)} annotated images are not in {self._place}: {few(missing)}; {self._fetch()}"
            )
        if not arrangement.problems:
            train, report = ([(by_name[name], label) for name, label in part] for part in parts)
            self._put_published(train, report, names, arrangement)
        return arrangement

    def _entries(self, folder: str, arrangement: Arrangement) -> list[tuple[str, int]]:
        """Path and label of each annotated image of a folder."""
        table = self._table(ANNOTATIONS[folder], "annotations", arrangement)
        try:
            return [(f"{folder}/{plain(entry['fname'])}", int(plain(entry["class"])) - 1) for entry in table]
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            arrangement.problems.append(
                f"{ANNOTATIONS[folder]} has no `fname` and `class` for each image ({error}); {self._fetch()}"
            )
            return []

    def _table(self, name: str, variable: str, arrangement: Arrangement) -> list[Any]:
        """Entries of a variable of a file; none after a problem."""
        try:
            path = find_in(self._place, ("", "devkit"), (name,), self._fetch())
            return read_matlab(path, (variable,))[0]
        except DataError as error:
            arrangement.problems.append(str(error))
            return []
