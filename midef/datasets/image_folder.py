"""The user's images in a folder or a zip: one folder per identity, or public images in any nesting."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from midef.core.errors import DataError
from midef.core.lazy import torch
from midef.datasets.base import DATASETS, LOCATION, Card, Dataset, Images, Splits
from midef.datasets.files.arrangement import NAMED, NEEDED, SPLITS, Arrangement, read_images
from midef.datasets.files.folders import (
    ImageFile,
    content_hash,
    few,
    file_ids,
    list_images,
    whereabouts,
    with_checksums,
)
from midef.datasets.files.listed import read_list
from midef.datasets.files.pixels import Box
from midef.datasets.files.split import cut, share, shuffled

log = logging.getLogger(__name__)


@DATASETS.add("image_folder")
@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """JPEG, PNG, PGM/PPM, WebP or BMP files: `<identity>/.../<file>`, or any nesting where there are no labels.

    Images become RGB (grey is repeated, alpha dropped), are cut to the largest centred square unless `crop` is given,
    and resized with antialiased bilinear weights. One folder around everything, hidden files, `__MACOSX`, files that
    are no images and images beside the identity folders are ignored.

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
    def members(self) -> frozenset[str]:
        return frozenset(f"{f.crc32:08x}:{f.size}" for f in with_checksums(self._root, self._ready().files))

    @override
    def file_ids(self) -> frozenset[str]:
        return file_ids(self._ready().files)

    @override
    def n_identities(self) -> int:
        return len(self._ready().names)

    @override
    def load(self, resolution_px: int) -> Splits:
        """The three splits; all images are read before an error names those that cannot be.

        Raises:
            DataError: with all problems, or all images that cannot be read (the first ten by name).
        """
        arrangement = self._ready()
        content: dict[str, set[str]] = {}
        failures: list[str] = []
        parts = {}
        for split in SPLITS:
            files = [file for file, _ in arrangement.splits[split]]
            pixels, content[split], failed = read_images(self._root, files, resolution_px, self.crop)
            labels = torch.tensor([label for _, label in arrangement.splits[split]], dtype=torch.int64)
            parts[split] = Images(torch.from_numpy(pixels), labels)
            failures += failed
        if failures:
            raise DataError(self._unreadable(failures, sum(map(len, arrangement.splits.values()))))
        shared = content["report"] & (content["train"] | content["select"])
        if shared and self.labelled:
            log.warning(
                "image_folder %s: %d of %d images of the report split are byte for byte also in train or select; "
                "remove the copies, they flatter the reported accuracy",
                self._root, len(shared), len(parts["report"]),
            )  # fmt: skip
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
            files = list_images(self._root, levels=2 if self.labelled else 1)
        except DataError as error:
            arrangement.problems.append(str(error))
            return arrangement
        if not files:
            arrangement.problems.append(
                f"no images in {self._root}; looked for JPEG, PNG, PGM, PPM, WebP and BMP files"
            )
            return arrangement

        groups: dict[str, list[ImageFile]] = {}
        for file in files:
            identity, slash, _ = file.name.partition("/")
            if slash or not self.labelled:
                groups.setdefault(identity if self.labelled else "", []).append(file)
        identities = self._keep(groups, arrangement)
        listed = self._match_lists(lists, files, sorted(groups), arrangement)

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

        if too_few and len(arrangement.lists) == len(lists):  # else the missing list is the problem
            need = "an image in each list" if self.has_lists else f"{NEEDED} images, one for each split"
            cure = "raise min_images to leave them out, or add images" if self.labelled else "add images"
            arrangement.problems.append(f"too few images in {self._root}, {need} needed: {few(too_few, NAMED)}; {cure}")
        elif self.has_lists and identities and not arrangement.splits["select"] and not arrangement.problems:
            arrangement.problems.append(
                f"train_list {self.train_list} leaves no image to pick checkpoints; list at least 3"
            )
        arrangement.names = tuple(identities) if self.labelled else ()
        return arrangement

    def _keep(self, groups: Mapping[str, list[ImageFile]], arrangement: Arrangement) -> dict[str, list[ImageFile]]:
        """The identities that are used, sorted."""
        if not self.labelled:
            return dict(groups)
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
        elif left_out := len(groups) - len(enough):
            log.info("image_folder %s: %d identities below min_images left out", self._root, left_out)
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
        position = {name: i for i, name in enumerate(identities)}
        listed: dict[str, set[str]] = {}
        for role, entries in lists.items():
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

    def _unreadable(self, failures: Sequence[str], total: int) -> str:
        kind = "archive" if self._root.is_file() else "folder"
        more = f"\n  and {len(failures) - NAMED} more" if len(failures) > NAMED else ""
        lines = "".join(f"\n  {failure}" for failure in failures[:NAMED])
        return (
            f"image_folder: {len(failures)} of {total} images in the {kind} {self._root} cannot be read; "
            f"replace them or take them out:{lines}{more}"
        )
