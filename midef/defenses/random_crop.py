"""Random cropping: training images are random parts of themselves, resized."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from typing_extensions import override

from midef.defenses.base import DEFENSES, Batch, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Generator


@DEFENSES.add("random_crop")
@dataclass(frozen=True, kw_only=True)
class RandomCrop(Defense):
    """Cut a random square out of every training image, in every iteration, and resize it to the full image.

    Args:
        scale_low: the square's share of the area is drawn from (scale_low, 1), in (0, 1]; smaller hides more, 1
            crops nothing. It acts on what the recipe's own, milder crop left.

    Source: a baseline of MIDRE, TMLR 2025 (table 4), which gives no parameters; 0.3 is ours, well below the 0.85 that
    its recipe crops anyway.
    """

    paper: ClassVar[str] = "baseline of MIDRE, TMLR 2025 (arXiv 2409.01062)"
    acts_on: ClassVar[str] = "training images"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="scale_low", low=0.05, high=0.95, larger_hides=False)

    scale_low: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.scale_low <= 1:
            raise ValueError(f"needs 0 < scale_low <= 1, got {self.scale_low}")

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        from midef.datasets.files.augment import resized_crop

        if self.scale_low == 1:
            return batch
        return batch.with_images(resized_crop(batch.images, rng, scale=(self.scale_low, 1.0)))

    @override
    def off(self) -> Self:
        return replace(self, scale_low=1.0)
