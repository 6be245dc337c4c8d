"""CelebA in the private and public parts of the inversion papers, at 64 px and at 224 px."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from typing_extensions import override

from midef.core.errors import DataError, few
from midef.core.lazy import torch
from midef.datasets.base import DATASETS, LOCATION, Card, Images, Splits
from midef.datasets.files.arrangement import SPLITS, Arrangement
from midef.datasets.files.celeba_people import PRIVATE, Split, private_identities, public_images
from midef.datasets.files.folders import SUFFIXES, ImageFile, list_folder
from midef.datasets.files.limits import text_of
from midef.datasets.files.listed import ListedDataset, Role, read_list, stem
from midef.datasets.files.pixels import Crop, centre_box
from midef.datasets.files.places import find_in, whereabouts
from midef.datasets.files.split import apart, cut, ninety_ten, share, shuffled

IDENTITIES = "identity_CelebA.txt"
IMAGES = ("img_align_celeba", "img_align_celeba.zip", "img_align_celeba_png")
HD_IMAGES = ("img_hd_224", "img_hd_224.zip")
HD_CURE = "cut the photographs with HD-CelebA-Cropper: face factor 0.65, 224x224, order 3, move 0.25"
FOLDERS = ("", "celeba", "Anno", "Img")  # as torchvision and as the authors lay them out
FETCH = (
    "CelebA may not be passed on; ask for the aligned images and the identity annotations at "
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
)
SIZE, HD_SIZE = (178, 218), (224, 224)
CROPS: Mapping[str, Crop] = {
    "papers": (35, 55, 143, 163),
    "yang": (35, 70, 143, 178),
    "vmi": centre_box(128, SIZE),
    "hd": None,
    "centred": None,
}
PUBLIC = 30_000
VMI_TRAIN = 25


@DATASETS.add("celeba")
@dataclass(frozen=True, kw_only=True)
class Celeba(ListedDataset):
    """CelebA: 1,000 private identities, and public images of other people.

    The private and the public set of one `split` share neither an image nor a person, whatever `identities` is.

    Args:
        root: folder that holds `identity_CelebA.txt` and `img_align_celeba/` or `img_align_celeba.zip`, there or in
            `celeba/`, `Anno/` or `Img/`; it is never written to. Only the images that are used need be there.
        role: `private` has labels; `public` has none.
        split: `papers`: of the identities with 30 images or more the 1,000 with the lowest numbers are private, labels
            are their ranks, a tenth of an identity's images (rounded up) is reported; public are images of identities
            with numbers above 1,000 and fewer than 30 images. `vmi`: the 1,000 identities with the most images are
            private, labels count upwards from the fewest; an identity's first 25 images are trained on and the others
            reported; every other image is public. `ppa`: other 1,000 identities, with the most images, labels are
            ranks, of equally many the one that comes first in the file; a tenth of all their images is reported, by a
            fixed permutation; every other image is public.
        crop: `papers`: 108 px, 55 from the top; `yang`: 108 px, 70 from the top; `vmi`: the centred 128 px; `hd`: whole
            images of 224 px, cut anew from the photographs, in `img_hd_224/` or its zip; `centred`: the centred square
            of the aligned images.
        grey: whether the three channels are made equal, by luma, after resizing.
        identities: the labels below this number are used; 2 to 1,000, role private only.
        public_images: so many are drawn by `seed`, role public only; None for what the papers use: 30,000 with split
            `papers`, all with split `vmi`, and all of a `public_list`.
        train_list, report_list: the published lists, lines `<file> <label>`, .jpg or .png; both or none, role private
            and split `papers` only. They fix which images are reported; each label is checked against the rule above.
        public_list: the published list, lines `<file>`, a second column is ignored; role public and split `papers`
            only.

    Source: the split and crop files that GMI (Zhang et al., CVPR 2020) and its successors share; `vmi`: Wang et al.,
    NeurIPS 2021; `yang`: Yang et al., CCS 2019; `ppa`, `hd`: PPA (Struppek et al., ICML 2022), released code; the
    images are those of HD-CelebA-Cropper with face factor 0.65, 224x224, order 3, move 0.25.
    We differ: they pick checkpoints by the images they report. Here `select_fraction` of an identity's training images
    picks them (3 of 27), so 24 are left to train on. Without lists, which images of an identity are reported and which
    public images are drawn depend on `seed`; the papers' draw is known from their lists only. Of identities with
    equally many images, `vmi` takes those with higher numbers: the authors' unstable sort leaves it to the machine.
    Yang et al. stretch each pixel to its range over the set; images stay as they are here. `ppa-aligned` is for those
    who have the aligned images alone: fewer pixels and a tighter view than PPA's.
    """

    paper: ClassVar[str] = "Liu et al., Deep learning face attributes in the wild, ICCV 2015"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "papers-private": {},
        "papers-public": {"role": "public"},
        "vmi-private": {"split": "vmi", "crop": "vmi"},
        "vmi-public": {"role": "public", "split": "vmi", "crop": "vmi"},
        "ppa": {"split": "ppa", "crop": "hd"},
        "ppa-aligned": {"split": "ppa", "crop": "centred"},
    }
    facts: ClassVar[Card] = Card(
        title="CelebA (aligned and cropped)",
        licence="non-commercial research only, no redistribution; CUHK multimedia laboratory",
        consent="pictures of celebrities collected from the internet; nobody was asked",
        source="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    )
    # A fixed release of compressed images: other images, or the same saved anew, differ in the sizes of thousands of
    # files. Names and sizes tell them apart while planning, without reading 1.4 GB. A single altered file of the same
    # size goes unseen.
    reads_content: ClassVar[bool] = False
    is_numbered: ClassVar[bool] = True

    root: str = field(metadata=LOCATION)
    role: Role = "private"
    split: Split = "papers"
    crop: Literal["papers", "yang", "vmi", "hd", "centred"] = "papers"
    grey: bool = False
    identities: int = PRIVATE
    public_images: int | None = None
    train_list: str = field(default="", metadata=LOCATION)
    report_list: str = field(default="", metadata=LOCATION)
    public_list: str = field(default="", metadata=LOCATION)

    @override
    def published_sizes(self) -> Mapping[str, int]:
        if not self.is_labelled:
            return {"train": self.public_images or (PUBLIC if self.split == "papers" else 172_561)}
        train, report = {"papers": (27_018, 3_009), "vmi": (25_000, 5_038), "ppa": (27_034, 3_004)}[self.split]
        return self._published_parts(train * self.identities // PRIVATE, report * self.identities // PRIVATE)

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.identities <= PRIVATE:
            raise ValueError(f"identities must be 2 to {PRIVATE}, got {self.identities}")
        if self.public_images is not None and self.public_images < len(SPLITS):
            raise ValueError(f"public_images must be at least {len(SPLITS)}, got {self.public_images}")
        if self.identities != PRIVATE and not self.is_labelled:
            raise ValueError("identities is for role private only; nobody of the 1,000 is ever public")
        if bool(self.train_list) != bool(self.report_list):
            raise ValueError("give both train_list and report_list, or neither")
        if self.is_labelled and (self.public_list or self.public_images is not None):
            raise ValueError("public_list and public_images are for role public only")
        if not self.is_labelled and self.train_list:
            raise ValueError("train_list and report_list are for role private only")
        if self.split != "papers" and (self.train_list or self.public_list):
            raise ValueError(f"the published lists are of split papers; leave them out with split {self.split}")

    @property
    @override
    def is_labelled(self) -> bool:
        return self.role == "private"

    @override
    def members(self) -> frozenset[str]:
        """Numbers of the used images and people: whatever the format, an image of CelebA is known by its file name."""
        arrangement = Arrangement()
        chosen = self._choose(arrangement)
        if arrangement.problems:
            raise DataError("\n".join(self._prefixed(arrangement.problems)))
        numbers = [number for part in chosen.values() for number, _ in part]
        identity_of = self._read_identities(arrangement)
        people = {f"celeba person:{identity_of[number]}" for number in numbers}
        return frozenset(f"celeba:{number}" for number in numbers) | people

    @override
    def load(self, resolution_px: int) -> Splits:
        splits = super().load(resolution_px)
        if not self.grey:
            return splits
        parts = {name: Images(_grey(part.images), part.labels) for name, part in splits.parts.items()}
        return Splits(**parts, class_names=splits.class_names)

    @property
    @override
    def _place(self) -> Path:
        if self.crop == "hd":
            return find_in(whereabouts(self.root), FOLDERS, HD_IMAGES, f"{HD_CURE}, <number>.png each; {FETCH}")
        place = self._find(IMAGES)
        again = place / place.name  # some unpack the archive into a folder of its own name
        return again if again.is_dir() else place

    @property
    @override
    def _box(self) -> Crop:
        return CROPS[self.crop]

    @property
    @override
    def _expected(self) -> tuple[tuple[int, int], str]:
        if self.crop == "hd":
            return HD_SIZE, HD_CURE
        return SIZE, "the crops are meant for the aligned and cropped images (img_align_celeba)"

    @override
    def _arrange(self) -> Arrangement:
        arrangement = Arrangement()
        chosen = self._choose(arrangement)
        wanted = [number for part in chosen.values() for number, _ in part]
        try:
            by_number = self._look_up(frozenset(wanted))
        except DataError as error:
            arrangement.problems += {str(error)} - set(arrangement.problems)
            return arrangement
        if missing := sorted(number for number in wanted if number not in by_number):
            arrangement.problems.append(
                f"{len(missing)} of the {len(wanted)} images used are not in {self._place}: {few(missing)}; {FETCH}"
            )
        if arrangement.problems or not wanted:
            return arrangement
        arrangement.splits = {
            split: [(by_number[number], label) for number, label in part] for split, part in chosen.items()
        }
        arrangement.files = [by_number[number] for number in wanted]
        return arrangement

    def _look_up(self, wanted: frozenset[str]) -> dict[str, ImageFile]:
        """Image files by number; of a .jpg and a .png the .jpg. In a folder only the used files are looked up."""
        if self._place.is_dir():
            with os.scandir(self._place) as entries:
                used = [e for e in entries if e.name.lower().endswith(SUFFIXES) and stem(e.name) in wanted]
            files: Sequence[ImageFile] = sorted(ImageFile(e.name, e.name, e.stat().st_size) for e in used)
        else:
            files = list_folder(self._place, levels=1).files
        return {stem(file.name): file for file in reversed(files)}

    def _choose(self, arrangement: Arrangement) -> dict[str, list[tuple[str, int]]]:
        """The number (file name without suffix) and label of each image of each split, from lists and annotations."""
        identity_of = self._read_identities(arrangement)
        lists = {
            role: read_list(getattr(self, role), role, arrangement)
            for role in ("train_list", "report_list", "public_list")
            if getattr(self, role)
        }
        if arrangement.problems:
            return {}
        private = private_identities(identity_of, self.split)
        rank = {identity: label for label, identity in enumerate(private)}
        listed = {role: self._match(role, entries, identity_of, rank, arrangement) for role, entries in lists.items()}
        if both := sorted(set(listed.get("train_list", ())) & set(listed.get("report_list", ()))):
            arrangement.problems.append(f"{len(both)} images are in train_list and in report_list: {few(both)}")
        if arrangement.problems:
            return {}
        if not self.is_labelled:
            return self._choose_public(listed.get("public_list"), identity_of, arrangement)
        if len(private) < self.identities:
            arrangement.problems.append(
                f"{len(private)} identities in {self._find((IDENTITIES,))} can be private, {self.identities} needed; "
                f"lower identities, or fetch the whole file: {FETCH}"
            )
        arrangement.names = tuple(str(identity) for identity in private[: self.identities])
        if self.split == "ppa":
            return self._choose_ninety_ten(identity_of, arrangement)
        return self._choose_private(listed, identity_of, arrangement)

    def _choose_ninety_ten(
        self, identity_of: Mapping[str, int], arrangement: Arrangement
    ) -> dict[str, list[tuple[str, int]]]:
        """The permutation is over the images of all identities used, in the order of the annotations."""
        rank = {int(name): label for label, name in enumerate(arrangement.names)}
        train, report = ninety_ten([(n, rank[identity]) for n, identity in identity_of.items() if identity in rank])
        left, select = apart(train, self.select_fraction, self.seed)
        trained = {label for _, label in left}
        if without := [name for label, name in enumerate(arrangement.names) if label not in trained]:
            arrangement.problems.append(
                f"no image to train on of {few(without)}; fetch the whole {IDENTITIES}: {FETCH}"
            )
        if self.crop == "centred":
            arrangement.notes.append("aligned images in place of PPA's HD crops: fewer pixels, a tighter view")
        return {split: sorted(part) for split, part in zip(SPLITS, (left, select, report), strict=True)}

    def _choose_private(
        self, listed: Mapping[str, list[str]], identity_of: Mapping[str, int], arrangement: Arrangement
    ) -> dict[str, list[tuple[str, int]]]:
        images_of: dict[int, list[str]] = {int(name): [] for name in arrangement.names}
        for number, identity in identity_of.items():
            if identity in images_of:
                images_of[identity].append(number)
        train_list, report_list = (set(listed.get(role, ())) for role in ("train_list", "report_list"))
        chosen: dict[str, list[tuple[str, int]]] = {split: [] for split in SPLITS}
        too_few = []
        for label, (identity, images) in enumerate(images_of.items()):
            if listed:
                train, report = [s for s in images if s in train_list], [s for s in images if s in report_list]
            elif self.split == "vmi":
                train, report = images[:VMI_TRAIN], images[VMI_TRAIN:]
            else:
                drawn = shuffled(images, self.seed, "report", identity)
                n_report = -(-len(images) // 10)
                train, report = sorted(drawn[n_report:]), sorted(drawn[:n_report])
            if len(train) < 2 or not report:
                too_few.append(f"{identity} ({len(train)} and {len(report)})")
                continue
            drawn = shuffled(train, self.seed, "select", identity)
            n_select = share(len(train), self.select_fraction, leave=1)
            for split, part in zip(SPLITS, (drawn[n_select:], drawn[:n_select], report), strict=True):
                chosen[split] += [(number, label) for number in sorted(part)]
        if too_few:
            where = "in train_list and report_list" if listed else "to train on and to report"
            arrangement.problems.append(f"too few images {where}, 2 and 1 of each identity needed: {few(too_few)}")
        return chosen

    def _choose_public(
        self,
        listed: Sequence[str] | None,
        identity_of: Mapping[str, int],
        arrangement: Arrangement,
    ) -> dict[str, list[tuple[str, int]]]:
        eligible = public_images(identity_of, self.split) if listed is None else listed
        wanted = self.public_images
        if wanted is None:
            wanted = PUBLIC if self.split == "papers" and listed is None else len(eligible)
        if len(eligible) < max(wanted, len(SPLITS)):
            arrangement.problems.append(
                f"{len(eligible)} images can be public, {max(wanted, len(SPLITS))} needed; lower public_images, or "
                f"fetch the whole {IDENTITIES}: {FETCH}"
            )
            return {}
        drawn = shuffled(sorted(eligible), self.seed, "public")[:wanted]
        parts = cut(drawn, self.select_fraction, self.select_fraction)
        return {split: [(number, -1) for number in sorted(part)] for split, part in zip(SPLITS, parts, strict=True)}

    def _match(
        self,
        role: str,
        entries: Sequence[tuple[str, int | None]],
        identity_of: Mapping[str, int],
        rank: Mapping[int, int],
        arrangement: Arrangement,
    ) -> list[str]:
        """Images of a list, checked against the annotations: their labels, or that no private identity is shown."""
        where = f"{role} {whereabouts(getattr(self, role))}"
        numbers = [stem(name) for name, _ in entries]
        unknown = [name for (name, _), number in zip(entries, numbers, strict=True) if number not in identity_of]
        if unknown:
            arrangement.problems.append(
                f"{where} names {len(unknown)} images {IDENTITIES} does not know: {few(unknown)}"
            )
        wrong = []
        for number, (name, label) in zip(numbers, entries, strict=True):
            expected = rank.get(identity_of.get(number, -1))
            if role == "public_list":
                if expected is not None:
                    wrong.append(f"{name} shows the private identity {identity_of[number]}")
            elif number in identity_of and label != expected:
                wrong.append(f"{name} has label {label}, expected {expected} of identity {identity_of[number]}")
        if wrong:
            arrangement.problems.append(f"{where} disagrees with {IDENTITIES} in {len(wrong)} lines: {few(wrong)}")
        return sorted(set(numbers))

    def _read_identities(self, arrangement: Arrangement) -> dict[str, int]:
        """The identity of each image, by the number in its file name, in the order of the file."""
        try:
            path = self._find((IDENTITIES,))
            content = text_of(path)
        except (OSError, DataError) as error:
            arrangement.problems.append(str(error))
            return {}
        arrangement.lists[IDENTITIES] = content
        identity_of: dict[str, int] = {}
        for at, line in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), 1):
            words = line.split()
            if not words:
                continue
            if len(words) != 2 or not words[1].isdecimal():
                arrangement.problems.append(f"{path} line {at} is {line[:60]!r}, '<file> <identity>' expected; {FETCH}")
                return {}
            identity_of[stem(words[0])] = int(words[1])
        return identity_of

    def _find(self, names: Iterable[str]) -> Path:
        """The first of these files or folders that exists.

        Raises:
            DataError: saying where they were looked for.
        """
        return find_in(whereabouts(self.root), FOLDERS, tuple(names), FETCH)


def _grey(images: torch.Tensor) -> torch.Tensor:
    """[N, 3, H, W] uint8 -> the same with equal channels; integers, so that every machine rounds alike."""
    luma = torch.tensor([299, 587, 114], dtype=torch.int32).view(1, 3, 1, 1)
    grey = torch.cat([((part.int() * luma).sum(1, keepdim=True) + 500) // 1000 for part in images.split(1024)])
    return grey.to(torch.uint8).expand_as(images).contiguous()
