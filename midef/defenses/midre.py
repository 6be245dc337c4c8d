"""MIDRE: random erasing of every training image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.base import DEFENSES, Batch, Defense
from midef.defenses.families.erasing import covered, hashed_draws, inpainted, reject_joint_boxes, valid_corner_boxes
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from midef.models.base import ModelFacts

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_MEAN_NORMALISED = (0.7425, 0.728, 0.703)
"""Pixel values of the same numbers after Normalize(0.5, 0.5), 0.5 + 0.5 v: the `mean` of `fill_space` normalised."""
_CONSTANTS = {"mean": IMAGENET_MEAN, "zero": (0.0, 0.0, 0.0), "one": (1.0, 1.0, 1.0)}
_AT_224 = {"area_low": 0.1, "area_high": 0.4, "fill_space": "normalised"}
_FIXED_AREA = {"area_low": 0.2, "area_high": 0.2}


@DEFENSES.add("midre")
@dataclass(frozen=True, kw_only=True)
class Midre(Defense):
    """Erase one square from every training image in every iteration.

    Args:
        area_low, area_high: range of the erased share of the image, 0 <= low <= high < 1; larger hides more, 0
            erases nothing.
        sampler: `valid_corner` draws the area, then a corner among those where the square fits (released code: mean
            area 0.25 for (0.1, 0.4), 0.45 for (0.1, 0.8)); `reject_joint` draws corner and area together and draws
            again until the square fits (paper text: 0.22 and 0.29).
        place: `random` draws area and place anew in every iteration; `fixed` (the paper's FE) once per image, for
            all epochs and seeds, by a hash of its position in the train split; in final coordinates, so not
            mirrored with the image.
        patches: number of squares, >= 1, each with an area from the range divided by it, drawn and placed on its
            own; they may overlap, so together they erase that share or less.
        ratio: height to width of a patch, > 0, as in torchvision's `RandomErasing`: 0.5 is twice as wide as tall.
        fill: `mean` (ImageNet's mean colour), `zero` and `one` are constants; `random` is U(0, 1), one draw per
            image and channel in every iteration, shared by all its patches; `inpaint` is Telea's fast marching
            (OpenCV, 8 bits, radius 3 px; slow: on the CPU, image by image).
        fill_space: where a fill value counts, `pixel` or `normalised`, which is where the released 224-px code
            writes it, after Normalize(0.5, 0.5): v becomes 0.5 + 0.5 v in pixels, the mean a light grey, zero a
            middle grey, random U(0.5, 1). Inpainting has no fill value and ignores it.

    Source: MIDRE, arXiv 2409.01062, TMLR 2025, section 4 and the ablations of its appendix; released configs use
    torchvision's RandomErasing with ratio (1, 1). Code and text disagree on the sampler; we follow the code.
    We differ, where the paper is silent: a fixed place is in final coordinates, and a random fill is one colour for
    the image, not one for each pixel. An area whose rectangle is longer than the image is refused, where
    torchvision draws again. Presets of patches follow the range of the main experiment, as the paper shows them in
    a figure only.
    """

    paper: ClassVar[str] = "MIDRE, TMLR 2025 (arXiv 2409.01062)"
    version: ClassVar[int] = 2
    acts_on: ClassVar[str] = "training images"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba-64": {"area_low": 0.1, "area_high": 0.4},
        "celeba-vgg16-ratio-0.5": {"area_low": 0.1, "area_high": 0.4, "ratio": 0.5},
        "celeba-vgg16-ratio-2": {"area_low": 0.1, "area_high": 0.4, "ratio": 2.0},
        "celeba-vgg16-inpaint": {"area_low": 0.1, "area_high": 0.4, "fill": "inpaint"},
        "celeba-facenet64-fill-random": {**_FIXED_AREA, "fill": "random"},
        "facescrub-224": _AT_224,
        "facescrub-224-strong": {**_AT_224, "area_high": 0.8},
        "facescrub-224-4-patches": {**_AT_224, "patches": 4},
        "facescrub-224-8-patches": {**_AT_224, "patches": 8},
        "facescrub-resnet18-fixed-area-0.2": {**_AT_224, **_FIXED_AREA},
        "facescrub-resnet18-fixed-place-0.2": {**_AT_224, **_FIXED_AREA, "place": "fixed"},
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="area_high", low=0.1, high=0.8)

    area_low: float = 0.1
    area_high: float = 0.4
    sampler: Literal["valid_corner", "reject_joint"] = "valid_corner"
    fill_space: Literal["pixel", "normalised"] = "pixel"
    place: Literal["random", "fixed"] = "random"
    patches: int = 1
    ratio: float = 1.0
    fill: Literal["mean", "zero", "one", "random", "inpaint"] = "mean"

    def __post_init__(self) -> None:
        if not 0 <= self.area_low <= self.area_high < 1:
            raise ValueError(f"needs 0 <= area_low <= area_high < 1, got ({self.area_low}, {self.area_high})")
        if self.patches < 1 or self.ratio <= 0:
            raise ValueError(f"needs patches >= 1 and ratio > 0, got {self.patches} and {self.ratio}")
        if not self.area_high / self.patches * max(self.ratio, 1 / self.ratio) < 1:
            raise ValueError(
                f"a patch with ratio {self.ratio:g} and {self.area_high / self.patches:g} of the area is longer than "
                "the image; lower area_high or bring ratio closer to 1"
            )

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        if self.fill == "inpaint" and self.area_high and find_spec("cv2") is None:
            return ["midre with fill=inpaint needs OpenCV; pip install opencv-python-headless"]
        return []

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        if self.area_high == 0:
            return batch
        n, _, *shape = batch.images.shape
        mask = covered(self._boxes(batch.indices, (shape[0], shape[1]), rng), (shape[0], shape[1]))
        if self.fill == "inpaint":
            return batch.with_images(inpainted(batch.images, mask))
        colours = self.fill_colours(n, rng).to(batch.images.dtype)
        return batch.with_images(torch.where(mask, colours[:, :, None, None], batch.images))

    def _boxes(self, indices: Tensor, shape: tuple[int, int], rng: Generator) -> Tensor:
        """[B, patches, 4]: top, left, height, width."""
        if self.place == "fixed":
            draws = hashed_draws(indices, self.patches)
        else:
            draws = torch.rand(len(indices), self.patches, 3, generator=rng, device=rng.device)
        place = valid_corner_boxes if self.sampler == "valid_corner" else reject_joint_boxes
        area = (self.area_low / self.patches, self.area_high / self.patches)
        return place(draws, shape, area=area, ratio=self.ratio)

    def fill_colours(self, n: int, rng: Generator) -> Tensor:
        """The RGB triples in pixel space, on the device of `rng`: [n, 3], or [1, 3] where all images share one."""
        if self.fill == "random":
            values = torch.rand(n, 3, generator=rng, device=rng.device)
        else:
            from midef.datasets.files.augment import constant

            values = constant(_CONSTANTS[self.fill], rng.device, torch.float32)[None]
        return values if self.fill_space == "pixel" else 0.5 + 0.5 * values

    @override
    def off(self) -> Self:
        return replace(self, area_low=0.0, area_high=0.0)
