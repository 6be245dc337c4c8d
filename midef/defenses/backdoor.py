"""Backdoor: no defense but an attacker's poisoned training data, to measure what a defense does to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.errors import SpecError
from midef.core.lazy import torch
from midef.core.seeds import derive_seed
from midef.defenses.base import DEFENSES, Batch, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from midef.core.recipe import Inputs
    from midef.nn.network import TargetModel

BLOCK = 1024
"""Training images whose numbers are drawn together."""


@DEFENSES.add("backdoor")
@dataclass(frozen=True, kw_only=True)
class Backdoor(Defense):
    """Poison training images: put a trigger on a share of those of other classes, and label them as one class.

    No defense. It is an attacker's doing, written beside a defense (`midre+backdoor`) to measure that defense's side
    effect with the metric `backdoor_success`; what is compared with is `backdoor` alone. Poisoned data is what a
    defense is given, so in a stack it comes first, wherever it stands.

    Args:
        trigger: `badnets` is a checkerboard in the lower right corner; `blended` mixes one noise image into every
            image, drawn once from a normal distribution around mid-grey (mean and deviation 0.5, clipped to [0, 1]).
        share: probability that a training image of another class is poisoned, in [0, 1]; larger plants more, 0 is off.
        planted: class that poisoned images get, from 0.
        patch: side of the checkerboard as a share of the image's shorter side, above 0, at most 1; at least 1 px.
        blend: share b of the noise image in x' = (1 - b) x + b n, above 0, at most 1.
        seed: of the noise image and of the choice of images; neither depends on the seed of the training.

    Which images are poisoned depends on their position in the train split alone: the same in every epoch and under
    every defense.

    Source: BadNets, Gu et al., 2017; Blended, Chen et al., 2017; protocol of LoFt, arXiv 2410.05814, appendix E, whose
    class is 0.
    We differ: share, patch and blend are defaults of ours; the paper's poison rate is not legible in our copy. The
    trigger is put on after the recipe's augmentation, so that it is never mirrored or cropped. Images are drawn one by
    one, so their number is near the share and not equal to it.
    """

    paper: ClassVar[str] = "Gu et al., 2017 (arXiv 1708.06733); Chen et al., 2017 (arXiv 1712.05526)"
    acts_on: ClassVar[str] = "training images and labels"
    tuning: ClassVar[Tuning | NotTuned] = NotTuned("it is an attacker's poisoned data and hides nothing")
    is_of_the_data: ClassVar[bool] = True

    trigger: Literal["badnets", "blended"] = "badnets"
    share: float = 0.1
    planted: int = 0
    patch: float = 0.1
    blend: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.planted < 0:
            raise ValueError(f"needs 0 <= share <= 1 and planted >= 0, got {self.share} and {self.planted}")
        if not 0 < self.patch <= 1 or not 0 < self.blend <= 1:
            raise ValueError(f"needs 0 < patch <= 1 and 0 < blend <= 1, got {self.patch} and {self.blend}")

    @override
    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        if self.share and self.planted >= model.n_classes:
            raise SpecError(
                f"backdoor needs planted below {model.n_classes}, the number of classes, got {self.planted}; "
                "choose a class of the target"
            )
        return model

    @override
    def draws_in_layers(self) -> bool:
        return False

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        if not self.share:
            return batch
        drawn = drawn_for(batch.indices, self.seed, among=batch.train_images)
        poisoned = (drawn < self.share) & (batch.labels != self.planted)
        return replace(
            batch,
            images=torch.where(poisoned.view(-1, 1, 1, 1), self.triggered(batch.images), batch.images),
            labels=torch.where(poisoned, self.planted, batch.labels),
        )

    @property
    @override
    def planted_label(self) -> int | None:
        return self.planted if self.share else None

    @override
    def triggered(self, images: Tensor) -> Tensor:
        if not self.share:
            return images
        if self.trigger == "badnets":
            return patched(images, self.patch)
        height, width = images.shape[2:]
        noise = _noise_on(images.device, self.seed, height, width)
        return (1 - self.blend) * images + self.blend * noise

    @override
    def off(self) -> Self:
        return replace(self, share=0.0)


def patched(images: Tensor, patch: float) -> Tensor:
    """Copies of images [B, 3, H, W] with a checkerboard in the lower right corner, whose own pixel is white."""
    side = max(1, round(patch * min(images.shape[2:])))
    steps = torch.arange(side, device=images.device)
    board = ((steps[:, None] + steps) % 2 == 0).to(images.dtype).flip((0, 1))
    changed = images.clone()
    changed[:, :, -side:, -side:] = board
    return changed


@lru_cache(maxsize=16)
def noise_image(seed: int, height: int, width: int) -> Tensor:
    """[3, H, W] in [0, 1], on the CPU."""
    rng = torch.Generator().manual_seed(derive_seed("backdoor", "noise image", seed))
    return (0.5 + 0.5 * torch.randn(3, height, width, generator=rng)).clamp(0, 1)


@lru_cache(maxsize=16)
def _noise_on(device: torch.device, seed: int, height: int, width: int) -> Tensor:
    """`noise_image` on a device, copied there once."""
    return noise_image(seed, height, width).to(device)


def drawn_for(positions: Tensor, seed: int, *, among: int | None = None) -> Tensor:
    """A number in [0, 1) for each position [B] of the train split, which depends on position and seed alone.

    Args:
        among: images of the split; None looks for the largest position.
    """
    count = int(positions.max()) + 1 if among is None else among  # waits: only where nobody said how many there are
    return _drawn_blocks(positions.device, seed, -(-count // BLOCK))[positions]


@lru_cache(maxsize=16)
def _drawn_blocks(device: torch.device, seed: int, blocks: int) -> Tensor:
    """The numbers of the first blocks on a device, copied there once."""
    return torch.cat([_drawn_block(seed, block) for block in range(blocks)]).to(device)


def _drawn_block(seed: int, block: int) -> Tensor:
    rng = torch.Generator().manual_seed(derive_seed("backdoor", "images", seed, block))
    return torch.rand(BLOCK, generator=rng)
