"""CutMix: a box of another image, and its share of the label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import F, torch
from midef.defenses.base import DEFENSES, Batch, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from midef.nn.network import Forward


@DEFENSES.add("cutmix")
@dataclass(frozen=True, kw_only=True)
class CutMix(Defense):
    """Paste one box of each image's partner in the batch into it, and train on both labels by their share of pixels.

    Args:
        alpha: kept share of the image before clipping is Beta(alpha, alpha), >= 0; 1 is uniform, larger keeps it
            closer to one half; 0 is off.
        p: probability of mixing a batch, in [0, 1]; larger mixes more often.

    Share, box and the order of the partners are drawn once per batch; the box is centred anywhere and clipped, and the
    label's share counts the pixels really pasted. The loss is (1 - s) CE(label) + s CE(partner's label).

    Source: Yun et al., "CutMix", ICCV 2019. As a baseline of MIDRE, TMLR 2025 (table 4), which gives no parameters:
    Beta(1, 1) on every batch is the ImageNet setting of CutMix.
    """

    paper: ClassVar[str] = "Yun et al., ICCV 2019 (arXiv 1905.04899)"
    acts_on: ClassVar[str] = "training images"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="p", low=0.1, high=1.0)
    couples_images: ClassVar[bool] = True

    alpha: float = 1.0
    p: float = 1.0

    def __post_init__(self) -> None:
        if self.alpha < 0 or not 0 <= self.p <= 1:
            raise ValueError(f"needs alpha >= 0 and 0 <= p <= 1, got {self.alpha} and {self.p}")

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        if self.alpha == 0 or self.p == 0:
            return batch
        n, _, height, width = batch.images.shape
        device = batch.images.device
        partner = torch.randperm(n, generator=rng, device=device)
        chosen, down, right = torch.rand(3, generator=rng, device=device)
        # torch.distributions draws from the global generator; this is what its Beta calls.
        gammas = torch._standard_gamma(torch.full((2,), self.alpha, device=device), generator=rng)
        kept = torch.where(chosen < self.p, gammas[0] / gammas.sum(), 1.0)
        box = pasted_box(kept, down, right, (height, width))
        inside = box[0][:, None] & box[1]
        return replace(
            batch,
            images=torch.where(inside, batch.images[partner], batch.images),
            mixed_labels=batch.labels[partner],
            mixed_share=inside.float().mean().expand(n),
        )

    @override
    def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
        if batch.mixed_labels is None or batch.mixed_share is None:
            return None
        return mixed_cross_entropy(
            forward.logits.float(), batch.labels, other_labels=batch.mixed_labels, other_share=batch.mixed_share
        )

    @override
    def off(self) -> Self:
        return replace(self, alpha=0.0)


def pasted_box(kept: Tensor, down: Tensor, right: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Rows [H] and columns [W] (bool) of the box for a kept share and a centre, all scalars in [0, 1].

    As in the paper's code: sides sqrt(1 - kept) of the image's, rounded down, then halved rounding down on both sides
    of a centre pixel.
    """
    inside = []
    for size, centre in zip(shape, (down, right), strict=True):
        half = (size * (1 - kept).sqrt()).long() // 2
        middle = (centre * size).long()
        pixels = torch.arange(size, device=kept.device)
        inside.append((pixels >= middle - half) & (pixels < middle + half))
    return inside[0], inside[1]


def mixed_cross_entropy(logits: Tensor, labels: Tensor, *, other_labels: Tensor, other_share: Tensor) -> Tensor:
    """Mean of (1 - s) CE(label) + s CE(other label): logits [B, K], labels [B], shares s [B]."""
    of_label = F.cross_entropy(logits, labels, reduction="none")
    of_other = F.cross_entropy(logits, other_labels, reduction="none")
    return torch.mean((1 - other_share) * of_label + other_share * of_other)
