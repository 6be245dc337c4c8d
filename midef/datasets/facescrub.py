"""FaceScrub: celebrities, one folder each; private data, or public data beside CelebA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from typing_extensions import override

from midef.datasets.base import DATASETS, Card
from midef.datasets.files.arrangement import Arrangement
from midef.datasets.files.identity_folders import CroppedFolders, class_folders
from midef.datasets.files.pixels import Crop, Stretched
from midef.datasets.files.split import ninety_ten


@DATASETS.add("facescrub")
@dataclass(frozen=True, kw_only=True)
class Facescrub(CroppedFolders):
    """FaceScrub: 530 celebrities. Private data of PPA, LOKT and data poisoning, for others public data beside CelebA.

    Args:
        split: `identities`: a folder for each, splits drawn per identity. `ppa`: all 530, in `actors/faces/<name>/` and
            `actresses/faces/<name>/` (the square crops, not the photos), labels in the order of the folders, actors
            first; a tenth of all images is reported, by a fixed permutation over all of them. Both sides of an image
            are resized. Role private only.
        cropped: the centred 54 of 64 px, as where it is public data; then the files must be 64x64. With split `ppa` an
            image is resized, its centred 54/64 cut out and resized again. Private images are used whole.

    Source: public use, with a list of 43,683 files: PLG-MI (Yuan et al., AAAI 2023) and its code; `lokt-private`:
    LOKT (Nguyen et al., NeurIPS 2023) and its code; `lpa-private`, `lpa-public`: the data-poisoning paper, 100 each;
    `ppa` (224 and 299 px): PPA (Struppek et al., ICML 2022), released code; `mibench` (64 and 112 px): MIBench's code.
    We differ: PLG-MI trains its generator on the whole 64 px but ranks the images on the centred 54; we crop in both.
    Splits `identities` are drawn per identity, not over the whole set. Which 100 identities `lpa` took is not known;
    these are the first and the second hundred. PPA has no images that pick checkpoints: here `select_fraction` of an
    identity's training images does, so that 81 % of all are left to train on. The permutation depends on how many
    files there are; dead links change it, so the lists of files are part of the fingerprint, and stored.
    """

    paper: ClassVar[str] = "Ng and Winkler, A data-driven approach to cleaning large face datasets, ICIP 2014"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "lokt-private": {"identities": 200},
        "public": {"role": "public", "cropped": True},
        "lpa-private": {"identities": 100},
        "lpa-public": {"role": "public", "start": 100, "identities": 100},
        "ppa": {"split": "ppa"},
        "mibench": {"split": "ppa", "cropped": True},
    }
    crop_px: ClassVar[int] = 54
    stored_px: ClassVar[int] = 64
    people: ClassVar[Mapping[str, int]] = {"actors": 265, "actresses": 265}
    facts: ClassVar[Card] = Card(
        title="FaceScrub",
        licence="addresses of images for research; the images carry no licence and belong to their owners",
        consent="pictures of celebrities collected from the internet; nobody was asked",
        source="the authors' list of addresses; images collected from them differ from copy to copy",
    )

    cropped: bool = False
    split: Literal["identities", "ppa"] = "identities"

    @override
    def published_sizes(self) -> Mapping[str, int]:
        if self.split == "ppa":
            return self._published_parts(34_090, 3_788)
        if not self.is_labelled and not self.start and self.identities is None:
            return {"train": 43_683}
        return self._published_share(37_878, sum(self.people.values()))

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split == "ppa" and (not self.is_labelled or self.start or self.identities is not None):
            raise ValueError("split ppa is of all 530 identities, role private; leave out start and identities")

    @property
    @override
    def _box(self) -> Crop:
        if self.split == "ppa":
            return Stretched(self.crop_px if self.cropped else self.stored_px)
        return super()._box

    @property
    @override
    def _expected(self) -> tuple[tuple[int, int], str] | None:
        return None if self.split == "ppa" else super()._expected

    @override
    def _arrange(self) -> Arrangement:
        if self.split != "ppa":
            return super()._arrange()
        arrangement = Arrangement()
        files = self._list(arrangement, levels=4)
        groups = {group: class_folders(files, f"{group}/faces") for group in self.people} if files else {}
        arrangement.problems += [
            f"{len(folders)} folders {group}/faces/<name>/ with images in {self._place}, {self.people[group]} needed"
            for group, folders in groups.items()
            if len(folders) != self.people[group]
        ]
        if arrangement.problems:
            return arrangement
        people = [images for folders in groups.values() for images in folders.values()]
        train, report = ninety_ten([(file, label) for label, images in enumerate(people) for file in images])
        names = [name for folders in groups.values() for name in folders]
        self._put_published(train, report, names, arrangement)
        return arrangement
