"""Interface of all datasets: three splits of 8-bit images, a card, a fingerprint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from midef.core.errors import DataError
from midef.core.in_step import in_step
from midef.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from midef.datasets.files.survey import Seen

DATASETS: Registry[Dataset] = Registry("dataset", "midef.datasets")


@dataclass(frozen=True)
class Images:
    """Images and labels of one split.

    Args:
        images: [N, 3, H, W] uint8.
        labels: [N] int64, -1 where the set has no labels (public data).
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[1] != 3 or str(self.images.dtype) != "torch.uint8":
            raise DataError(f"images must be [N, 3, H, W] uint8, got {list(self.images.shape)} {self.images.dtype}")
        if self.labels.shape != self.images.shape[:1]:
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Splits:
    """Train fits weights, select picks a checkpoint, report is what is reported: never the same images."""

    train: Images
    select: Images
    report: Images
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.train):
            raise DataError("the train split is empty")

    @property
    def parts(self) -> dict[str, Images]:
        return {"train": self.train, "select": self.select, "report": self.report}

    @property
    def all_images(self) -> Tensor:
        """[N, 3, H, W] uint8 of all three splits: to train on where nothing is reported, as with public data."""
        from midef.core.lazy import torch

        return torch.cat([part.images for part in self.parts.values()])


Half: TypeAlias = Literal["all", "first", "second"]
"""Whose public images: everyone's, or one of two parts that hold every other image, so that attacker and defender of
answers have none in common."""
HALVES: Mapping[Half, slice] = {"all": slice(None), "first": slice(0, None, 2), "second": slice(1, None, 2)}


def half_of(fitted: Tensor, held: Tensor, half: Half) -> tuple[Tensor, Tensor]:
    """What one of two has, who have no public image in common: to train on, and held out.

    Args:
        fitted: public images [N, 3, H, W].
        held: public images [M, 3, H, W] that nobody trains on.

    Raises:
        DataError: if nothing is left of either.
    """
    own, own_held = fitted[HALVES[half]], held[HALVES[half]]
    if not len(own) or not len(own_held):
        raise DataError(
            f"half {half} of the public images has {len(own)} to train on and {len(own_held)} held out, needs 1 of "
            "each; bring more public images, raise their select_fraction, or write half: all"
        )
    return own, own_held


@dataclass(frozen=True, kw_only=True)
class Card:
    """Facts to know before using a dataset."""

    title: str
    licence: str
    consent: str
    source: str
    counts: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What looking at every image of a data set showed.

    Args:
        problems: why it cannot be used: images that do not decode, copies in two splits or of two identities.
        notes: what to know before using it: what was left out, counted, with an example.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class ImageFormation(ABC):
    """How the images of a data set are made: a differentiable function of latents.

    Standard normal latents give images of the data set's population. The first `n_traits` coordinates are the identity;
    the others change from image to image of one person.
    """

    latent_dim: int
    n_traits: int

    @abstractmethod
    @in_step
    def images(self, latents: Tensor, resolution_px: int) -> Tensor:
        """Images [B, 3, R, R] in [0, 1] of latents [B, latent_dim], of their type and on their device."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Base of all datasets: a frozen dataclass whose fields decide the images.

    Fields that only say where the files lie carry `metadata=LOCATION`: they never enter a key. A dataset that reads
    files returns a `fingerprint` of their content instead, so a moved or re-zipped folder keeps its key.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    is_numbered: ClassVar[bool] = False
    """True where two sets of this class are compared by `members` alone, as by the numbers of their images."""
    is_generated: ClassVar[bool] = False
    """True where a program draws the images, so that they show nobody and pages may show them."""

    @property
    def is_labelled(self) -> bool:
        """True if it can be private data (identities known). Public sets have no labels."""
        return True

    def fingerprint(self) -> str:
        """Hash of the content read from files; "" for a dataset computed from its parameters.

        Raises:
            DataError: if files are missing, saying where they were looked for.
        """
        return ""

    def problems(self) -> list[str]:
        """All reasons why it cannot be read here (missing files, a class with one image), cheaply; no torch."""
        return []

    def examine(self) -> Findings:
        """Look at every image: what cannot be used, what was left out. Costs as `midef.datasets.files.survey` says.

        Raises:
            DataError: with all `problems`, if there are any.
        """
        return Findings()

    def seen(self) -> Mapping[str, Seen]:
        """What decoding showed of each image that is used and can be read, by path; empty where images are computed.

        Raises:
            DataError: with all `problems`, if there are any.
        """
        return {}

    def pixel_ids(self) -> Mapping[str, str]:
        """The used images by an id that is equal for equal pixels, whatever the data set and the type of the files.

        Returns:
            id (`midef.datasets.files.pixels.pixel_id`) -> name of an image that has it, as a path where there is one;
            empty where images are computed.

        Raises:
            DataError: with all `problems`, if there are any.
        """
        return {seen.pixels: name for name, seen in reversed(list(self.seen().items()))}

    def members(self) -> frozenset[str]:
        """What must not be in two sets of this class: ids of its images, or of the people they show."""
        return frozenset(self.pixel_ids())

    def formation(self) -> ImageFormation | None:
        """How its images are made, but for pixel noise and rounding; None for photographs."""
        return None

    def identity_latents(self) -> np.ndarray | None:
        """Standard normal coordinates [K, n_traits] of its K identities, in their order, for `formation`.

        They are exact. A set without labels has them too: of the people it shows. None for photographs.
        """
        return None

    def n_identities(self) -> int:
        """Number of labels; 0 for a set without labels."""
        raise NotImplementedError

    def sizes(self) -> Mapping[str, int]:
        """Number of images in `train`, `select` and `report`, as far as they are known without reading an image.

        Raises:
            DataError: with all `problems`, if there are any.
        """
        return {split: count for split, count in self.card().counts.items() if split in ("train", "select", "report")}

    def file_lists(self) -> Mapping[str, Sequence[tuple[str, int]]]:
        """Path and label of each image of `train`, `select` and `report`, kept with the splits; empty where published
        rules decide nothing.

        Raises:
            DataError: with all `problems`, if there are any.
        """
        return {}

    def published_sizes(self) -> Mapping[str, int]:
        """Number of images in `train`, `select` and `report` as published, for plans on a machine that has not the
        files; empty where nobody published it."""
        return {}

    def load(self, resolution_px: int) -> Splits:
        """The three splits at this resolution, the same on every machine.

        Raises:
            DataError: naming the first file that cannot be read, or the class with too few images.
        """
        raise NotImplementedError

    def card(self) -> Card:
        """Licence, consent, source, counts, fingerprint."""
        raise NotImplementedError


PATHS = frozenset({"path", "root", "train_list", "report_list", "public_list"})
"""Names of location fields that are paths."""

LOCATION: dict[str, Any] = {"location": True, "shown": False}
"""Metadata of a dataclass field that says where files lie: `path: str = field(metadata=LOCATION)`."""
