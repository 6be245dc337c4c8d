"""Published sets with a folder for each identity or class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from midef.core.errors import few
from midef.datasets.base import LOCATION
from midef.datasets.files.arrangement import NEEDED, SPLITS, Arrangement
from midef.datasets.files.folders import NAMED, ImageFile, same_name
from midef.datasets.files.identities import twins, unlike_identities
from midef.datasets.files.listed import ListedDataset, Role, read_list
from midef.datasets.files.pixels import Crop, centre_box
from midef.datasets.files.places import whereabouts
from midef.datasets.files.split import cut, shuffled


@dataclass(frozen=True, kw_only=True)
class IdentityFolders(ListedDataset):
    """Base of the sets with a folder for each identity, `<identity>/<file>`.

    Args:
        path: folder or zip, relative to the working directory; a folder and its zip have equal keys.
        role: `private` has labels, positions among the identities used; `public` has none, and may lie flat in one
            folder if `start` and `identities` are not given.
        start, identities: the identities used, in sorted order: so many, from this position on; None for all that
            follow.
        public_list: text file of lines `path`, a second column is ignored; only for role public: the images that are
            used.
        report_fraction: part of an identity's images that is reported; role private only.
    """

    path: str = field(metadata=LOCATION)
    role: Role = "private"
    start: int = 0
    identities: int | None = None
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

    def _published_share(self, images: int, people: int) -> Mapping[str, int]:
        """Sizes of the splits, where so many images of so many people are published."""
        used = images * (self.identities or max(1, people - self.start)) // people
        if not self.is_labelled:
            return {"train": used}
        select, report = int(used * self.select_fraction + 0.5), int(used * self.report_fraction + 0.5)
        return {"train": used - select - report, "select": select, "report": report}

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


@dataclass(frozen=True, kw_only=True)
class CroppedFolders(IdentityFolders):
    """Base of those whose images are cut to their centre.

    Args:
        cropped: whether the published centre crop is applied; without it the largest centred square is taken.
    """

    crop_px: ClassVar[int]
    stored_px: ClassVar[int]

    cropped: bool = True

    @property
    @override
    def _box(self) -> Crop:
        return centre_box(self.crop_px, (self.stored_px, self.stored_px)) if self.cropped else None

    @property
    @override
    def _expected(self) -> tuple[tuple[int, int], str] | None:
        cure = f"resize the set to {self.stored_px} px, or say cropped: false"
        return ((self.stored_px, self.stored_px), cure) if self.cropped else None


def class_folders(files: Iterable[ImageFile], above: str) -> dict[str, list[ImageFile]]:
    """Images of each folder `<above>/<class>/`, classes and files in plain string order, one after the other.

    Paths as a whole have another order where one name is the beginning of another: `/` comes after `-`.
    """
    found: dict[str, list[ImageFile]] = {}
    for file in files:
        rest = file.name.removeprefix(f"{above}/")
        name, slash, _ = rest.partition("/")
        if slash and rest != file.name:
            found.setdefault(name, []).append(file)
    return {name: sorted(found[name]) for name in sorted(found)}


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
