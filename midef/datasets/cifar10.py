"""CIFAR-10: small pictures of ten things, from the binary version of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.core.errors import DataError
from midef.core.lazy import torch
from midef.core.position import steps
from midef.datasets.base import DATASETS, Card, Images, Splits
from midef.datasets.files.classes import ClassesDataset
from midef.datasets.files.pixels import resize
from midef.datasets.files.places import whereabouts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDER = "cifar-10-batches-bin"
PICKLES = "cifar-10-batches-py"
FILES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "report": ("test_batch.bin",)}
SIDE_PX = 32
RECORD = 1 + 3 * SIDE_PX * SIDE_PX  # the class, then the red, green and blue plane
LARGEST = 10_000 * RECORD  # of each published file


@DATASETS.add("cifar10")
@dataclass(frozen=True, kw_only=True)
class Cifar10(ClassesDataset):
    """Ten classes of 32x32 colour images. The test batch is the report split; of the others 10 % pick checkpoints.

    Args:
        root: the folder that holds `cifar-10-batches-bin/`, or the .bin files themselves; it is never written to. The
            python version of the set is refused: it consists of pickles, which run whatever code is in them.
        classes: which of the ten are used; labels are positions in this list.
        labelled: False for public data: labels are -1, no identities.
        images_per_class: at most so many of each class from the training batches and as many from the test batch,
            drawn by `seed`; >= 2.

    Source: the data-poisoning paper (LPA) inverts CIFAR-10 classifiers with the data split in halves.
    We differ: it does not say which classes make a half; `halves-private` are 0 to 4, as in its other sets. Nor do we
    standardise the images, as its errors suggest it did.
    """

    paper: ClassVar[str] = "Krizhevsky, Learning multiple layers of features from tiny images, 2009"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "halves-private": {"classes": (0, 1, 2, 3, 4)},
        "halves-public": {"classes": (5, 6, 7, 8, 9), "labelled": False},
    }
    words: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    facts: ClassVar[Card] = Card(
        title="CIFAR-10",
        licence="none stated; the authors ask to be cited",
        consent="pictures of animals and vehicles from the internet",
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
    )
    test_part: ClassVar[str] = "test"
    registered_name: ClassVar[str]

    @override
    def problems(self) -> list[str]:
        try:
            root, folder = whereabouts(self.root), self._folder
        except DataError as error:
            return [f"{self.registered_name}: {error}"]
        names = [name for part in FILES.values() for name in part]
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            absent = ", ".join(str(folder / name) for name in missing)
            problems = [f"no such file {absent}; fetch the binary version of CIFAR-10"]
            if any((place / "data_batch_1").is_file() for place in (root, root / PICKLES)):
                problems.append(
                    f"{root} holds the python version; it consists of pickles, which run whatever code is in them, and "
                    f"is not read: fetch the binary version ({FOLDER})"
                )
        else:
            problems = [
                f"{path} has {size} bytes, a multiple of {RECORD} expected (a class and {SIDE_PX}x{SIDE_PX} pixels), "
                f"at most {LARGEST}; fetch it again"
                for path in (folder / name for name in names)
                if (size := path.stat().st_size) == 0 or size % RECORD or size > LARGEST
            ]
        if not problems:
            try:
                self.drawn()
            except DataError as error:
                problems = str(error).splitlines()
        return [f"{self.registered_name}: {problem}" for problem in problems]

    @override
    def fingerprint(self) -> str:
        """sha256 over the name and content of the six files."""
        self._check_files()
        total = hashlib.sha256()
        for name in (name for part in FILES.values() for name in part):
            total.update(f"{name}\0{hashlib.sha256((self._folder / name).read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()

    @override
    def load(self, resolution_px: int) -> Splits:
        self._check_files()
        records = self._records()
        parts = {}
        drawn = self.drawn()
        for split, (indices, labels) in steps(drawn.items(), weights=[len(part) for part, _ in drawn.values()]):
            rows = records["report" if split == "report" else "train"][indices]
            pixels = rows[:, 1:].reshape(-1, 3, SIDE_PX, SIDE_PX)
            parts[split] = Images(_resized(pixels, resolution_px), torch.tensor(labels, dtype=torch.int64))
        return Splits(**parts, class_names=self.names)

    @override
    def file_pixels(self) -> Mapping[str, NDArray[np.uint8]]:
        self._check_files()
        planes = {part: rows[:, 1:].reshape(-1, 3, SIDE_PX, SIDE_PX) for part, rows in self._records().items()}
        return {part: pixels.transpose(0, 2, 3, 1) for part, pixels in planes.items()}

    @property
    def _folder(self) -> Path:
        root = whereabouts(self.root)
        return root if (root / FILES["report"][0]).is_file() else root / FOLDER

    def _check_files(self) -> None:
        if problems := self.problems():
            raise DataError("\n".join(problems))

    def _records(self) -> dict[str, NDArray[np.uint8]]:
        """[N, 3073] of the training and the test files."""
        import numpy as np

        records = {}
        for part, names in FILES.items():
            content = b"".join((self._folder / name).read_bytes() for name in names)
            records[part] = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
        return records

    @override
    def file_labels(self) -> Mapping[str, Sequence[int]]:
        return {part: rows[:, 0].tolist() for part, rows in self._records().items()}


def _resized(images: NDArray[np.uint8], resolution_px: int) -> torch.Tensor:
    """[N, 3, 32, 32] -> [N, 3, resolution_px, resolution_px]."""
    import numpy as np
    from PIL.Image import fromarray

    pixels = np.empty((len(images), 3, resolution_px, resolution_px), np.uint8)
    for i, image in enumerate(steps(images)):
        pixels[i] = resize(fromarray(image.transpose(1, 2, 0)), resolution_px).transpose(2, 0, 1)
    return torch.from_numpy(pixels)
