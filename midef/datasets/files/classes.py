"""Sets of ten classes in training and test files: which positions of the files go into which split."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import DataError
from midef.datasets.base import LOCATION, Card, Dataset, Findings
from midef.datasets.files.pixels import id_of_pixels
from midef.datasets.files.places import whereabouts
from midef.datasets.files.split import share, shuffled
from midef.datasets.files.survey import Seen, look_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SELECT_FRACTION = 0.1

Drawn = dict[str, tuple[list[int], list[int]]]


@dataclass(frozen=True, kw_only=True)
class ClassesDataset(Dataset):
    """Ten classes of images. Test images are the report split; of the others 10 % pick checkpoints.

    Args:
        root: the folder with the files; it is never written to.
        classes: which of the ten are used; labels are positions in this list.
        labelled: False for public data: labels are -1, no identities.
        images_per_class: at most so many of each class from the training files and as many from the test files, drawn
            by `seed`; >= 2.
    """

    words: ClassVar[tuple[str, ...]]
    facts: ClassVar[Card]
    is_numbered: ClassVar[bool] = True
    test_part: ClassVar[str]
    """What the test files are called in content ids."""

    root: str = field(metadata=LOCATION)
    classes: tuple[int, ...] = tuple(range(10))
    labelled: bool = True
    images_per_class: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if len(set(self.classes)) != len(self.classes) or not set(self.classes) <= set(range(10)):
            raise ValueError(f"classes must be different numbers from 0 to 9, got {self.classes}")
        if len(self.classes) < (2 if self.labelled else 1):
            raise ValueError(f"classes must name at least 2, 1 without labels, got {self.classes}")
        if self.images_per_class is not None and self.images_per_class < 2:
            raise ValueError(f"images_per_class must be at least 2 (train, select), got {self.images_per_class}")

    @abstractmethod
    def file_labels(self) -> Mapping[str, Sequence[int]]:
        """The class of each image of the training (`train`) and test (`report`) files.

        Raises:
            DataError: if the files cannot be read.
        """

    @abstractmethod
    def file_pixels(self) -> Mapping[str, NDArray[np.uint8]]:
        """[N, H, W, 3] of the training (`train`) and test (`report`) files.

        Raises:
            DataError: if the files cannot be read.
        """

    @property
    @override
    def is_labelled(self) -> bool:
        return self.labelled

    @override
    def n_identities(self) -> int:
        return len(self.classes) if self.labelled else 0

    @override
    def examine(self) -> Findings:
        """Reads all pixels; the few copies that are in these sets as published are not looked for."""
        try:
            self.file_pixels()
        except DataError as error:
            return Findings(problems=(str(error),))
        return Findings()

    def _used_pixels(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Name and pixels [H, W, 3] of each used image."""
        pixels, place = self.file_pixels(), whereabouts(self.root)
        for split, (indices, _) in self.drawn().items():
            part = "report" if split == "report" else "train"
            for i in indices:
                yield f"{place}/{self.test_part if part == 'report' else 'train'} image {i}", pixels[part][i]

    @override
    def seen(self) -> Mapping[str, Seen]:
        from PIL.Image import fromarray

        return {name: look_at(fromarray(pixels)) for name, pixels in self._used_pixels()}

    @override
    def pixel_ids(self) -> Mapping[str, str]:
        ids: dict[str, str] = {}
        for name, pixels in self._used_pixels():
            height, width, _ = pixels.shape
            ids.setdefault(id_of_pixels(width, height, pixels.tobytes()), name)
        return ids

    @override
    def members(self) -> frozenset[str]:
        """Position of each used image in the files; equal for equal files."""
        content = self.fingerprint()[:16]
        return frozenset(
            f"{content}:{self.test_part if split == 'report' else 'train'}:{i}"
            for split, (indices, _) in self.drawn().items()
            for i in indices
        )

    @override
    def card(self) -> Card:
        fingerprint = self.fingerprint()  # first: it says what is wrong with the files
        counts = {split: len(indices) for split, (indices, _) in self.drawn().items()}
        return replace(self.facts, counts={"identities": self.n_identities(), **counts}, fingerprint=fingerprint)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.words[c] for c in self.classes) if self.labelled else ()

    def drawn(self) -> Drawn:
        """Positions in the files and labels of each split, from the labels alone.

        Raises:
            DataError: naming every class with too few images.
        """
        return draw_classes(
            self.file_labels(),
            classes=self.classes,
            words=self.words,
            labelled=self.labelled,
            images_per_class=self.images_per_class,
            select_fraction=SELECT_FRACTION,
            seed=self.seed,
        )


def draw_classes(
    labels: Mapping[str, Sequence[int]],
    *,
    classes: Sequence[int],
    words: Sequence[str],
    labelled: bool,
    images_per_class: int | None,
    select_fraction: float,
    seed: int,
) -> Drawn:
    """Positions in the files and labels of train, select (both from the training files) and report (the test files).

    Args:
        labels: the class of each image of the training (`train`) and test (`report`) files.
        classes: those that are used; labels are positions in this list, or -1 without `labelled`.
        images_per_class: at most so many of each class from the training files, and as many from the test files.

    Raises:
        DataError: naming every class with fewer than 2 training images or no test image.
    """
    splits: Drawn = {"train": ([], []), "select": ([], []), "report": ([], [])}
    problems = []
    for label, number in enumerate(classes):
        positions = {part: [i for i, c in enumerate(all_) if c == number] for part, all_ in labels.items()}
        if len(positions["train"]) < 2 or not positions["report"]:
            problems.append(
                f"class {words[number]!r} has {len(positions['train'])} training and {len(positions['report'])} test "
                "images, 2 and 1 needed; leave it out of classes"
            )
            continue
        for part, indices in positions.items():
            positions[part] = shuffled(indices, seed, words[number], part)[:images_per_class]
        n_select = share(len(positions["train"]), select_fraction, leave=1)
        chosen = {
            "train": positions["train"][n_select:],
            "select": positions["train"][:n_select],
            "report": positions["report"],
        }
        for split, indices in chosen.items():
            splits[split][0].extend(sorted(indices))
            splits[split][1].extend([label if labelled else -1] * len(indices))
    if problems:
        raise DataError("\n".join(problems))
    return splits
