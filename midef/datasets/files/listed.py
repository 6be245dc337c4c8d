"""Published sets of image files: which file goes into which split is known before any image is read."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from typing_extensions import override

from midef.core.errors import DataError, few
from midef.core.lazy import torch
from midef.core.position import steps
from midef.datasets.base import Card, Dataset, Findings, Images, Splits
from midef.datasets.files.arrangement import NEEDED, SPLITS, Arrangement, read_images
from midef.datasets.files.examination import examine_files, seen_files
from midef.datasets.files.folders import ImageFile, content_hash, list_folder, reader, unreadable, with_checksums
from midef.datasets.files.limits import text_of
from midef.datasets.files.pixels import FORMATS, Crop
from midef.datasets.files.places import whereabouts
from midef.datasets.files.split import apart, cut, shuffled
from midef.datasets.files.survey import Seen

Role = Literal["private", "public"]


@dataclass(frozen=True, kw_only=True)
class ListedDataset(Dataset):
    """Base of the published sets of image files: a subclass says which file goes into which split.

    Args:
        select_fraction: part of an identity's training images that picks checkpoints; of public images, which nothing
            is reported on, as many again are the report split. Above 0 and below 0.5.
        seed: draws what the published rules leave open.
    """

    facts: ClassVar[Card]
    registered_name: ClassVar[str]
    reads_content: ClassVar[bool] = True
    """True if the fingerprint reads every image; if not, it stands on names and sizes."""

    select_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.select_fraction < 0.5:
            raise ValueError(f"select_fraction must lie between 0 and 0.5, got {self.select_fraction}")

    @abstractmethod
    def _arrange(self) -> Arrangement:
        """Images of each split, and everything that prevents it; reads no pixels."""

    @property
    @abstractmethod
    def _place(self) -> Path:
        """The folder or zip that holds the images."""

    @property
    def _box(self) -> Crop:
        """What is seen of each image."""
        return None

    @property
    def _expected(self) -> tuple[tuple[int, int], str] | None:
        """Width and height the published crop is meant for, and what to do about another size; None for any size."""
        return None

    @override
    def problems(self) -> list[str]:
        arrangement = self._arrange()
        return self._prefixed(arrangement.problems or self._size_problems(arrangement))

    @override
    def fingerprint(self) -> str:
        return self._content_hash(self._ready())

    @override
    def examine(self) -> Findings:
        found = examine_files(self._place, self._ready(), crop=self._box, expected=self._expected, published=True)
        return replace(found, problems=tuple(self._prefixed(found.problems)))

    @override
    def seen(self) -> Mapping[str, Seen]:
        return seen_files(self._place, self._ready())

    @override
    def n_identities(self) -> int:
        return len(self._ready().names)

    @override
    def load(self, resolution_px: int) -> Splits:
        arrangement = self._ready()
        if problems := self._size_problems(arrangement):
            raise DataError("\n".join(self._prefixed(problems)))
        failures: list[str] = []
        parts = {}
        for split, entries in steps(arrangement.splits.items(), weights=[*map(len, arrangement.splits.values())]):
            files = [file for file, _ in entries]
            pixels, _, failed = read_images(self._place, files, resolution_px, self._box, arrangement.boxes)
            labels = torch.tensor([label for _, label in entries], dtype=torch.int64)
            parts[split] = Images(torch.from_numpy(pixels), labels)
            failures += failed
        if failures:
            total = sum(map(len, arrangement.splits.values()))
            raise DataError(f"{self.registered_name}: {unreadable(failures, total, self._place)}")
        return Splits(**parts, class_names=arrangement.names)

    @override
    def file_lists(self) -> Mapping[str, Sequence[tuple[str, int]]]:
        return self._ready().named_splits

    @override
    def card(self) -> Card:
        arrangement = self._ready()
        counts = {"identities": len(arrangement.names), **{split: len(arrangement.splits[split]) for split in SPLITS}}
        return replace(self.facts, counts=counts, fingerprint=self._content_hash(arrangement))

    def _content_hash(self, arrangement: Arrangement) -> str:
        """Hash of the used files and of every list or annotation read; equal for a folder and its zip."""
        if self.reads_content:
            return content_hash(with_checksums(self._place, arrangement.files), arrangement.lists)
        return content_hash([file._replace(crc32=0) for file in arrangement.files], arrangement.lists)

    def _ready(self) -> Arrangement:
        """The arrangement; raises if it cannot be used.

        Raises:
            DataError: with every problem.
        """
        arrangement = self._arrange()
        if arrangement.problems:
            raise DataError("\n".join(self._prefixed(arrangement.problems)))
        return arrangement

    def _prefixed(self, problems: Iterable[str]) -> list[str]:
        return [f"{self.registered_name}: {problem}" for problem in problems]

    def _published_parts(self, train: int, report: int) -> Mapping[str, int]:
        """Sizes of the splits, where so many images are published to train on and to report."""
        select = int(train * self.select_fraction + 0.5)
        return {"train": train - select, "select": select, "report": report}

    def _fetch(self) -> str:
        """Where to get the images, and on which terms: the end of a problem with what is missing."""
        return f"get it from {self.facts.source}; licence: {self.facts.licence}; consent: {self.facts.consent}"

    def _put_published(
        self,
        train: Sequence[tuple[ImageFile, int]],
        report: Sequence[tuple[ImageFile, int]],
        names: Sequence[str],
        arrangement: Arrangement,
    ) -> None:
        """Images that published rules train on and report; checkpoints are picked by some of the former.

        The lists of files are part of the fingerprint: the rules may depend on how many files there are.
        """
        left, select = apart(train, self.select_fraction, self.seed)
        trained = {label for _, label in left}
        if without := [name for label, name in enumerate(names) if label not in trained]:
            arrangement.problems.append(f"no image to train on in {self._place} of {few(without)}; add images")
        if not select or not report:
            arrangement.problems.append(
                f"{len(train)} images to train on and {len(report)} to report in {self._place}, two of a class and one "
                "needed; add images"
            )
        if not_reported := sorted(set(range(len(names))) - {label for _, label in report}):
            few_names = few([names[label] for label in not_reported])
            arrangement.notes.append(f"no image of {len(not_reported)} classes is reported: {few_names}")
        for split, part in zip(SPLITS, (left, select, report), strict=True):
            arrangement.splits[split] = sorted(part, key=lambda entry: entry[0].name)
        arrangement.files = [file for file, _ in (*train, *report)]
        arrangement.names = tuple(names)
        lines = (f"{split} {file.name} {label}\n" for split, part in arrangement.splits.items() for file, label in part)
        arrangement.lists["splits"] = "".join(lines).encode()

    def _put_public(self, files: Sequence[ImageFile], arrangement: Arrangement) -> None:
        """Unlabelled images, cut at random into the three splits."""
        if len(files) < NEEDED:
            arrangement.problems.append(
                f"{len(files)} public images in {self._place}, at least {NEEDED} needed; add images"
            )
            return
        drawn = cut(shuffled(files, self.seed, "public"), self.select_fraction, self.select_fraction)
        for split, part in zip(SPLITS, drawn, strict=True):
            arrangement.splits[split] = [(file, -1) for file in sorted(part)]
        arrangement.files = list(files)

    def _list(self, arrangement: Arrangement, *, levels: int = 1) -> Sequence[ImageFile]:
        """The image files, or none and a problem; what is not read becomes notes."""
        try:
            if not self._place.exists():
                raise DataError(f"no such file or folder {self._place}; {self._fetch()}")
            files, left_out = list_folder(self._place, levels=levels)
        except DataError as error:
            arrangement.problems += [line for line in str(error).splitlines() if line not in arrangement.problems]
            return []
        arrangement.notes += left_out.notes()
        if not files:
            arrangement.problems.append(
                f"no images in {self._place}; looked for JPEG, PNG, PGM, PPM, WebP and BMP files"
            )
        return files

    def _size_problems(self, arrangement: Arrangement) -> list[str]:
        """Problems with the size of one image: a set of another size would be cut in the wrong place."""
        from PIL import Image

        if self._expected is None:
            return []
        (width, height), cure = self._expected
        file = arrangement.files[0]
        try:
            with reader(self._place) as read:
                size = image_size(read(file))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return [f"{file.name} in {self._place} cannot be read ({error}); fetch it again"]
        if size == (width, height):
            return []
        return [f"{file.name} in {self._place} has {size[0]}x{size[1]} pixels, {width}x{height} expected; {cure}"]


def stem(name: str) -> str:
    """A path's file name without its suffix.

    >>> stem("img_align_celeba/000001.jpg")
    '000001'
    """
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height, from the header alone."""
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(data), formats=FORMATS) as opened:
        return opened.size


def read_list(
    path: str,
    role: str,
    arrangement: Arrangement,
    *,
    lines_are: str = "with an image on each line",
    may_be_empty: bool = False,
) -> list[tuple[str, int | None]]:
    """Name and label (None where not given) of each line; the content is kept for the fingerprint.

    A list that cannot be read is a problem, and empty.

    Args:
        path: of the text file.
        role: field that names it.
        arrangement: gets the content and the problems.
        lines_are: what the file holds, as part of the advice.
        may_be_empty: an empty list is no problem.
    """
    try:
        place = whereabouts(path)
    except DataError as error:
        arrangement.problems.append(f"{role}: {error}")
        return []
    try:
        content = text_of(place)
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]  # Windows puts a mark in front
    except (OSError, UnicodeDecodeError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        arrangement.problems.append(f"{role} {place} cannot be read: {why}; give a text file {lines_are}")
        return []
    arrangement.lists[role] = content
    entries: list[tuple[str, int | None]] = []
    for line in filter(None, lines):
        match = re.fullmatch(r"(?P<name>.+?)(?:\s+(?P<label>-?\d+))?", line)
        assert match is not None  # any line that is not blank matches
        name = match["name"].replace("\\", "/").removeprefix("./")
        entries.append((name, int(match["label"]) if match["label"] else None))
    if not entries and not may_be_empty:
        arrangement.problems.append(f"{role} {place} is empty; give a text file {lines_are}")
    return entries
