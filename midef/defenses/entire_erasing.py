"""Entire erasing (EE): the network sees fewer whole images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.base import DEFENSES, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Generator, Tensor


@DEFENSES.add("entire_erasing")
@dataclass(frozen=True, kw_only=True)
class EntireErasing(Defense):
    """Leave out whole images: what erasing a part of each is compared with, at equal erased area over the training.

    Args:
        share: of the images of each identity that an epoch leaves out, drawn anew each epoch, in [0, 1); rounded to
            whole images (a half to the even number), and one image of each identity always stays.
        epochs_share: of the recipe's epochs that are trained, in (0, 1].

    Leaving out more hides more, in theory; the paper finds next to nothing.

    Source: MIDRE, TMLR 2025, where EE has two definitions: share 0.1 to 0.5 in table 1 (ResNet18), 90 to 50 of 100
    epochs in table C.13 (MaxViT).
    We differ: schedules are fractions of training, so a shorter training lowers its learning rate earlier; the paper
    does not say what it does there.
    """

    paper: ClassVar[str] = "MIDRE, ablation EE, TMLR 2025 (arXiv 2409.01062)"
    acts_on: ClassVar[str] = "training images"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "facescrub-resnet18": {"share": 0.2, "epochs_share": 1.0},
        "facescrub-resnet18-strong": {"share": 0.5, "epochs_share": 1.0},
        "facescrub-maxvit": {"share": 0.0, "epochs_share": 0.8},
        "facescrub-maxvit-strong": {"share": 0.0, "epochs_share": 0.5},
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="share", low=0.1, high=0.9)

    share: float = 0.2
    epochs_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"needs 0 <= share < 1, got {self.share}")
        if not 0 < self.epochs_share <= 1:
            raise ValueError(f"needs 0 < epochs_share <= 1, got {self.epochs_share}")

    @override
    def training_overrides(self, training: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.epochs_share == 1:
            return {}
        return {"epochs": max(1, round(self.epochs_share * training["epochs"]))}

    @override
    def images_of_epoch(self, labels: Tensor, rng: Generator) -> Tensor | None:
        if self.share == 0:
            return None
        return remaining(labels, share=self.share, rng=rng)

    @override
    def off(self) -> Self:
        return replace(self, share=0.0, epochs_share=1.0)


def remaining(labels: Tensor, *, share: float, rng: Generator) -> Tensor:
    """Positions among labels [N], ascending, after a random share of each label's is left out; at least one stays."""
    counts = torch.bincount(labels)
    left_out = torch.minimum((share * counts).round().long(), (counts - 1).clamp(min=0))
    shuffled = torch.randperm(len(labels), generator=rng)
    by_label = shuffled[labels[shuffled].argsort(stable=True)]
    start = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - start[labels[by_label]]
    return by_label[rank >= left_out[labels[by_label]]].sort().values
