"""The user's images in a folder or a zip: one folder per identity, or public images in any nesting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from typing_extensions import override

from midef.core.errors import DataError, few
from midef.core.lazy import torch
from midef.core.position import steps
from midef.datasets.base import DATASETS, LOCATION, Card, Dataset, Findings, Images, Splits
from midef.datasets.files.arrangement import NEEDED, SPLITS, Arrangement, read_images
from midef.datasets.files.copies import copy_problems, find_copies
from midef.datasets.files.examination import examine_files, seen_files
from midef.datasets.files.folders import (
    NAMED,
    ImageFile,
    content_hash,
    list_folder,
    same_name,
    unreadable,
    with_checksums,
)
from midef.datasets.files.identities import identity_notes, twins, unlike_identities
from midef.datasets.files.left_out import left_out_lines
from midef.datasets.files.listed import read_list
from midef.datasets.files.pixels import Box
from midef.datasets.files.places import whereabouts
from midef.datasets.files.split import cut, share, shuffled
from midef.datasets.files.survey import Seen


@DATASETS.add("image_folder")
@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """JPEG, PNG, PGM/PPM, WebP or BMP files: `<identity>/.../<file>`, or any nesting where there are no labels.

    Images become RGB (grey is repeated, alpha dropped), are cut to the largest centred square unless `crop` is given,
    and resized with antialiased bilinear weights. One folder around everything is passed over. Hidden files, folders of
    the system (`__MACOSX`, `@eaDir`), files of other types and images beside the identity folders are not used; `midef
    datasets card` counts them. An image in two splits or of two identities, equal in every pixel, is an error.

    Args:
        path: folder or zip, relative to the working directory; a folder and its zip have equal keys.
        labelled: False for public data: labels are -1, no identities.
        min_images: identities with fewer images are left out; without labels it has no meaning.
        max_images: at most so many images of an identity (of the whole set without labels), drawn by `seed`; >= 3.
        identities: the first so many in sorted order, after `min_images`; None for all.
        train_list, report_list: text files of lines `path label`; the label may be missing, and is checked against the
            identity's position among all sorted identity folders. Both or none; images in neither are not used.
        select_fraction: part of an identity's images (with lists: of its train list) that picks checkpoints.
        report_fraction: part of an identity's images that is reported; unused with lists.
        crop: left, top, right, bottom in pixels of the files; stretched if it is no square.
        title, licence, consent, source: for the card only.
    """

    path: str = field(metadata=LOCATION)
    labelled: bool = True
    min_images: int = 6
    max_images: int | None = None
    identities: int | None = None
    train_list: str = field(default="", metadata=LOCATION)
    report_list: str = field(default="", metadata=LOCATION)
    select_fraction: float = 0.1
    report_fraction: float = 0.2
    crop: Box | None = None
    seed: int = 0
    title: str = field(default="", metadata=LOCATION)
    licence: str = field(default="unknown: set by the user", metadata=LOCATION)
    consent: str = field(default="unknown", metadata=LOCATION)
    source: str = field(default="", metadata=LOCATION)

    def __post_init__(self) -> None:
        if self.min_images < 1:
            raise ValueError(f"min_images must be at least 1, got {self.min_images}")
        if self.max_images is not None and self.max_images < NEEDED:
            raise ValueError(f"max_images must be at least {NEEDED}, one for each split, got {self.max_images}")
        if self.identities is not None and (self.identities < 2 or not self.labelled):
            raise ValueError(f"identities must be at least 2, of a labelled set, got {self.identities}")
        if bool(self.train_list) != bool(self.report_list):
            raise ValueError("give both train_list and report_list, or neither")
        for name in ("select_fraction", "report_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if not self.has_lists and self.select_fraction + self.report_fraction >= 1:
            raise ValueError("select_fraction and report_fraction must leave something to train on")
        if self.crop is not None:
            left, top, right, bottom = self.crop
            if not (0 <= left < right and 0 <= top < bottom):
                raise ValueError(f"crop must be left < right, top < bottom, all >= 0, got {self.crop}")

    @property
    @override
    def is_labelled(self) -> bool:
        return self.labelled

    @property
    def has_lists(self) -> bool:
        return bool(self.train_list or self.report_list)

    @override
    def problems(self) -> list[str]:
        return [f"image_folder: {problem}" for problem in self._arrange().problems]

    @override
    def fingerprint(self) -> str:
        return self._content_hash(self._ready())

    @override
    def examine(self) -> Findings:
        found = examine_files(self._root, self._ready(), crop=self.crop)
        return replace(found, problems=tuple(f"image_folder: {problem}" for problem in found.problems))

    @override
    def seen(self) -> Mapping[str, Seen]:
        return seen_files(self._root, self._ready())

    @override
    def n_identities(self) -> int:
        return len(self._ready().names)

    @override
    def load(self, resolution_px: int) -> Splits:
        """The three splits; all images are read before an error names those that cannot be.

        Raises:
            DataError: with all problems: images that cannot be read (the first ten by name), copies in two splits or
                of two identities.
        """
        arrangement = self._ready()
        ids: dict[str, str] = {}
        failures: list[str] = []
        parts = {}
        for split in steps(SPLITS, weights=[len(arrangement.splits[split]) for split in SPLITS]):
            files = [file for file, _ in arrangement.splits[split]]
            pixels, ids_of_part, failed = read_images(self._root, files, resolution_px, self.crop)
            labels = torch.tensor([label for _, label in arrangement.splits[split]], dtype=torch.int64)
            parts[split] = Images(torch.from_numpy(pixels), labels)
            failures += failed
            ids |= ids_of_part
        total = sum(map(len, arrangement.splits.values()))
        problems = [unreadable(failures, total, self._root)] if failures else []
        problems += copy_problems(find_copies(arrangement.named_splits, ids))
        if problems:
            raise DataError("\n".join(f"image_folder: {problem}" for problem in problems))
        return Splits(**parts, class_names=arrangement.names)

    @override
    def card(self) -> Card:
        arrangement = self._ready()
        return Card(
            title=self.title or self._root.stem,
            licence=self.licence,
            consent=self.consent,
            source=self.source,
            counts={
                "identities": len(arrangement.names),
                **{split: len(arrangement.splits[split]) for split in SPLITS},
            },
            fingerprint=self._content_hash(arrangement),
        )

    def _content_hash(self, arrangement: Arrangement) -> str:
        return content_hash(with_checksums(self._root, arrangement.files), arrangement.lists)

    @property
    def _root(self) -> Path:
        return whereabouts(self.path)

    def _ready(self) -> Arrangement:
        """The arrangement; raises if it cannot be used.

        Raises:
            DataError: with every problem.
        """
        arrangement = self._arrange()
        if arrangement.problems:
            raise DataError("\n".join(f"image_folder: {problem}" for problem in arrangement.problems))
        return arrangement

    def _arrange(self) -> Arrangement:
        """Images of each split, from names and sizes alone, and everything that prevents it."""
        arrangement = Arrangement()
        lists = {role: self._read_list(role, arrangement) for role in ("train_list", "report_list") if self.has_lists}
        try:
            files, left_out = list_folder(self._root, levels=2 if self.labelled else 1)
        except DataError as error:
            arrangement.problems += str(error).splitlines()
            return arrangement
        arrangement.notes += left_out.notes()
        if not files:
            found = "".join(f"; {note}" for note in arrangement.notes)
            arrangement.problems.append(
                f"no images in {self._root}; looked for JPEG, PNG, PGM, PPM, WebP and BMP files{found}"
            )
            return arrangement

        groups: dict[str, list[ImageFile]] = {}
        for file in files:
            identity, slash, _ = file.name.partition("/")
            groups.setdefault(identity if self.labelled and slash else "", []).append(file)
        if self.labelled:
            arrangement.notes += identity_notes(
                groups, left_out.unread, min_images=self.min_images, identities=self.identities
            )
            groups.pop("", None)
        identities = self._keep(groups, arrangement)
        listed = self._match_lists(lists, files, sorted(groups), arrangement)

        self._put_splits(identities, listed, arrangement)
        self._note_unused(identities, listed, arrangement)
        arrangement.names = tuple(identities) if self.labelled else ()
        return arrangement

    def _put_splits(
        self, identities: Mapping[str, list[ImageFile]], listed: Mapping[str, set[str]], arrangement: Arrangement
    ) -> None:
        """Put the images of each identity into the splits, by the lists or at random."""
        too_few = []
        for label, (name, images) in enumerate(identities.items()):
            if self.has_lists:
                train, report = (
                    [f for f in images if f.name in listed[role]] for role in ("train_list", "report_list")
                )
                images = train + report
                if not train or not report:
                    too_few.append(f"{name or 'the set'} ({len(train)} in train_list, {len(report)} in report_list)")
                    continue
                parts = self._split_listed(name, train, report)
            else:
                if len(images) < NEEDED:
                    too_few.append(f"{name or 'the set'} ({len(images)})")
                    continue
                drawn = shuffled(images, self.seed, name)[: self.max_images]
                parts = cut(drawn, self.select_fraction, self.report_fraction)
            arrangement.files += images
            for split, part in zip(SPLITS, parts, strict=True):
                in_order = sorted(part, key=lambda f: f.name)
                arrangement.splits[split] += [(file, label if self.labelled else -1) for file in in_order]

        if too_few and len(arrangement.lists) == len(listed):  # else the missing list is the problem
            need = "an image in each list" if self.has_lists else f"{NEEDED} images, one for each split"
            cure = "raise min_images to leave them out, or add images" if self.labelled else "add images"
            arrangement.problems.append(f"too few images in {self._root}, {need} needed: {few(too_few, NAMED)}; {cure}")
        elif self.has_lists and identities and not arrangement.splits["select"] and not arrangement.problems:
            arrangement.problems.append(
                f"train_list {self.train_list} leaves no image to pick checkpoints; list at least 3"
            )

    def _note_unused(
        self, identities: Mapping[str, list[ImageFile]], listed: Mapping[str, set[str]], arrangement: Arrangement
    ) -> None:
        """Count the images of used identities that are in no split."""
        candidates = [file for images in identities.values() for file in images]
        if self.has_lists:
            both = set[str]().union(*listed.values())
            in_neither = [file.name for file in candidates if file.name not in both]
            arrangement.notes += left_out_lines(in_neither, "image", "in neither list")
            candidates = [file for file in candidates if file.name in both]
        used = {file.name for part in arrangement.splits.values() for file, _ in part}
        unused = [file.name for file in candidates if file.name not in used] if self.max_images is not None else []
        arrangement.notes += left_out_lines(unused, "image", f"beyond max_images={self.max_images}")

    def _keep(self, groups: Mapping[str, list[ImageFile]], arrangement: Arrangement) -> dict[str, list[ImageFile]]:
        """The identities that are used, sorted."""
        if not self.labelled:
            return dict(groups)
        if odd := unlike_identities(groups, self._root) + twins(groups, self._root):
            arrangement.problems += odd
            return {}
        enough = {name: groups[name] for name in sorted(groups) if len(groups[name]) >= self.min_images}
        if len(groups) < 2:
            arrangement.problems.append(
                f"{len(groups)} identity folder in {self._root}, at least 2 needed, laid out <identity>/<file>; "
                "for public images without identities say labelled=False"
            )
        elif len(enough) < (self.identities or 2):
            largest = max(map(len, groups.values()))
            arrangement.problems.append(
                f"{len(enough)} of the {len(groups)} identities in {self._root} have min_images={self.min_images} "
                f"images or more (the largest has {largest}), {self.identities or 'at least 2'} needed; "
                f"lower min_images{' or identities' if self.identities else ''}, or add images"
            )
        return dict(list(enough.items())[: self.identities])

    def _split_listed(
        self, name: str, train: list[ImageFile], report: list[ImageFile]
    ) -> tuple[list[ImageFile], list[ImageFile], list[ImageFile]]:
        """Train and select from the train list; the cap keeps the lists' proportion."""
        train, report = shuffled(train, self.seed, name), shuffled(report, self.seed, name, "report")
        if self.max_images is not None and len(train) + len(report) > self.max_images:
            n_report = share(self.max_images, len(report) / (len(train) + len(report)), leave=2)
            train, report = train[: self.max_images - n_report], report[:n_report]
        n_select = share(len(train), self.select_fraction, leave=1) if len(train) >= NEEDED else 0
        return train[n_select:], train[:n_select], report

    def _read_list(self, role: str, arrangement: Arrangement) -> list[tuple[str, int | None]]:
        lines_are = "of lines 'path label'"
        return read_list(getattr(self, role), role, arrangement, lines_are=lines_are, may_be_empty=True)

    def _match_lists(
        self,
        lists: Mapping[str, list[tuple[str, int | None]]],
        files: Sequence[ImageFile],
        identities: Sequence[str],
        arrangement: Arrangement,
    ) -> dict[str, set[str]]:
        """The names of the listed images, checked against the files and the labels."""
        by_name = {file.place: file.name for file in files} | {file.name: file.name for file in files}
        by_name |= {same: file for name, file in by_name.items() if (same := same_name(name)) not in by_name}
        position = {name: i for i, name in enumerate(identities)}
        listed: dict[str, set[str]] = {}
        for role, written in lists.items():
            listed[role] = set()
            if role not in arrangement.lists:  # it could not be read
                continue
            entries = [(name if name in by_name else same_name(name), label) for name, label in written]
            where = f"{role} {whereabouts(getattr(self, role))}"
            missing = [name for name, _ in entries if name not in by_name]
            if missing:
                arrangement.problems.append(f"{where} names images that are not in {self._root}: {few(missing)}")
            known = [(by_name[name], label) for name, label in entries if name in by_name]
            wrong = [
                f"{name} has label {label}, expected {position.get(name.partition('/')[0])}"
                for name, label in known
                if self.labelled and label is not None and label != position.get(name.partition("/")[0])
            ]
            if wrong:
                arrangement.problems.append(f"{where} disagrees with the sorted identity folders: {few(wrong)}")
            listed[role] = {name for name, _ in known}
        both = sorted(set.intersection(*listed.values())) if listed else []
        if both:
            arrangement.problems.append(f"images are in train_list and in report_list: {few(both)}; keep each in one")
        return listed
