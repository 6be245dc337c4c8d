"""Published sets of image files: which file goes into which split is known before any image is read."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from typing_extensions import override

from midef.core.errors import DataError, few
from midef.core.lazy import torch
from midef.core.position import steps
from midef.datasets.base import LOCATION, Card, Dataset, Findings, Images, Splits
from midef.datasets.files.arrangement import NEEDED, SPLITS, Arrangement, read_images
from midef.datasets.files.examination import examine_files, seen_files
from midef.datasets.files.folders import (
    NAMED,
    ImageFile,
    content_hash,
    list_folder,
    reader,
    same_name,
    unreadable,
    with_checksums,
)
from midef.datasets.files.identities import twins, unlike_identities
from midef.datasets.files.limits import text_of
from midef.datasets.files.pixels import FORMATS, Box
from midef.datasets.files.places import whereabouts
from midef.datasets.files.split import cut, shuffled
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
    def _box(self) -> Box | None:
        """Crop of each image; None for the largest centred square."""
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
            pixels, _, failed = read_images(self._place, [file for file, _ in entries], resolution_px, self._box)
            labels = torch.tensor([label for _, label in entries], dtype=torch.int64)
            parts[split] = Images(torch.from_numpy(pixels), labels)
            failures += failed
        if failures:
            total = sum(map(len, arrangement.splits.values()))
            raise DataError(f"{self.registered_name}: {unreadable(failures, total, self._place)}")
        return Splits(**parts, class_names=arrangement.names)

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
            files, left_out = list_folder(self._place, levels=levels)
        except DataError as error:
            arrangement.problems += str(error).splitlines()
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


@dataclass(frozen=True, kw_only=True)
class IdentityFolders(ListedDataset):
    """Base of the sets with a folder for each identity, `<identity>/<file>`.

    Args:
        path: folder or zip, relative to the working directory; a folder and its zip have equal keys.
        role: `private` has labels, positions among the identities used; `public` has none, and may lie flat in one
            folder if `start` and `identities` are not given.
        start, identities: the identities used, in sorted order: so many, from this position on; None for all that
            follow.
        cropped: whether the published centre crop is applied; without it the largest centred square is taken.
        public_list: text file of lines `path`, a second column is ignored; only for role public: the images that are
            used.
        report_fraction: part of an identity's images that is reported; role private only.
    """

    crop_px: ClassVar[int]
    stored_px: ClassVar[int]

    path: str = field(metadata=LOCATION)
    role: Role = "private"
    start: int = 0
    identities: int | None = None
    cropped: bool = True
    public_list: str = field(default="", metadata=LOCATION)
    report_fraction: float = 0.2

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start < 0:
            raise ValueError(f"start must be at least 0, got {self.start}")
        if self.identities is not None and self.identities < (2 if self.is_labelled else 1):
            raise ValueError(f"identities must be at least 2, 1 for public images, got {self.identities}")
        if not 0 < self.report_fraction < 0.5:
            raise ValueError(f"report_fraction must lie between 0 and 0.5, got {self.report_fraction}")
        if self.public_list and self.is_labelled:
            raise ValueError("public_list is for role public only")

    @property
    @override
    def is_labelled(self) -> bool:
        return self.role == "private"

    @property
    @override
    def _place(self) -> Path:
        return whereabouts(self.path)

    @property
    @override
    def _box(self) -> Box | None:
        return centre_box(self.crop_px, (self.stored_px, self.stored_px)) if self.cropped else None

    @property
    @override
    def _expected(self) -> tuple[tuple[int, int], str] | None:
        cure = f"resize the set to {self.stored_px} px, or say cropped: false"
        return ((self.stored_px, self.stored_px), cure) if self.cropped else None

    @override
    def _arrange(self) -> Arrangement:
        arrangement = Arrangement()
        chosen = read_list(self.public_list, "public_list", arrangement) if self.public_list else None
        needs_folders = self.is_labelled or self.start > 0 or self.identities is not None
        files = self._list(arrangement, levels=2 if needs_folders else 1)
        if not files:
            return arrangement
        groups = self._used(files, arrangement) if needs_folders else {"": list(files)}
        if not self.is_labelled:
            images = [file for group in groups.values() for file in group]
            if chosen is not None and "public_list" in arrangement.lists:
                images = _matching(images, chosen, f"public_list {whereabouts(self.public_list)}", arrangement)
            if images and not arrangement.problems:
                self._put_public(images, arrangement)
        else:
            self._put_private(groups, arrangement)
        return arrangement

    def _used(self, files: Sequence[ImageFile], arrangement: Arrangement) -> dict[str, list[ImageFile]]:
        """The files of each identity from `start` on, in sorted order."""
        groups: dict[str, list[ImageFile]] = {}
        for file in files:
            identity, slash, _ = file.name.partition("/")
            if slash:
                groups.setdefault(identity, []).append(file)
        if odd := unlike_identities(groups, self._place) + twins(groups, self._place):
            arrangement.problems += odd
            return {}
        end = None if self.identities is None else self.start + self.identities
        used = sorted(groups)[self.start : end]
        needed = self.identities or (2 if self.is_labelled else 1)
        if len(used) < needed:
            arrangement.problems.append(
                f"{len(groups)} identity folders in {self._place}, {self.start + needed} needed (start={self.start}), "
                "laid out <identity>/<file>; add the missing ones, or lower start or identities"
            )
        return {name: groups[name] for name in used}

    def _put_private(self, groups: dict[str, list[ImageFile]], arrangement: Arrangement) -> None:
        too_few = [f"{name} ({len(images)})" for name, images in groups.items() if len(images) < NEEDED]
        if too_few:
            arrangement.problems.append(
                f"too few images in {self._place}, {NEEDED} of each identity needed, one for each split: "
                f"{few(too_few, NAMED)}; add images or take these folders out"
            )
            return
        for label, (name, images) in enumerate(groups.items()):
            parts = cut(shuffled(images, self.seed, name), self.select_fraction, self.report_fraction)
            for split, part in zip(SPLITS, parts, strict=True):
                arrangement.splits[split] += [(file, label) for file in sorted(part)]
            arrangement.files += images
        arrangement.names = tuple(groups)


def centre_box(side_px: int, size: tuple[int, int]) -> Box:
    """The centred square of an image of this width and height.

    >>> centre_box(54, (64, 64)), centre_box(128, (178, 218))
    ((5, 5, 59, 59), (25, 45, 153, 173))
    """
    left, top = (size[0] - side_px) // 2, (size[1] - side_px) // 2
    return (left, top, left + side_px, top + side_px)


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


def _matching(
    files: Sequence[ImageFile], entries: Sequence[tuple[str, int | None]], where: str, arrangement: Arrangement
) -> list[ImageFile]:
    """The listed files, by their path, or by their file name alone where only one is so called."""
    last = Counter(file.name.rsplit("/", 1)[-1] for file in files)
    by_name = {name: file for file in files if last[name := file.name.rsplit("/", 1)[-1]] == 1}
    by_name |= {file.name: file for file in files}
    by_name |= {same: file for name, file in by_name.items() if (same := same_name(name)) not in by_name}
    entries = [(name if name in by_name else same_name(name), label) for name, label in entries]
    missing = [name for name, _ in entries if name not in by_name]
    if missing:
        arrangement.problems.append(
            f"{where} names {len(missing)} images that are not among those used: {few(missing)}"
        )
    return sorted({by_name[name] for name, _ in entries if name in by_name})
