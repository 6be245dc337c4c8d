"""The hooks a defense may override. Every hook starts as "no change"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from midef.core.registry import Registry

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from midef.core.recipe import Inputs, Recipe
    from midef.models._base import ModelFacts
    from midef.models._network import Forward, TargetModel

DEFENSES: Registry[Defense] = Registry("defense", "midef.defenses")

OWNED_SLOTS = ("criterion",)
"""Hooks only one defense of a stack may override."""


@dataclass(frozen=True)
class Batch:
    """One training batch.

    images: [B, 3, H, W] float32 in [0, 1]; labels: [B] int64; indices: [B] positions in the train split, the same in
    every epoch, for defenses that remember an image.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor

    def with_images(self, images: Tensor) -> Batch:
        return replace(self, images=images)


@dataclass(frozen=True, kw_only=True)
class Defense:
    """Base of all defenses: a frozen dataclass that overrides only what its paper changes.

    Hooks get `progress`, the fraction of training done (0 to below 1), so that a short run still runs the method.
    Learnable parts live in the model, so they are saved with it.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    acts_on: ClassVar[str] = ""

    @property
    def images_per_identity(self) -> int:
        """Above 0, training batches hold this many images of each drawn identity (the sampler BiDO needs)."""
        return 0

    def parts(self) -> tuple[Defense, ...]:
        """The defenses it is made of; itself, unless it is a stack."""
        return (self,)

    def taps(self, facts: ModelFacts) -> tuple[str, ...]:
        """Blocks whose outputs `criterion` and `penalties` want to see."""
        return ()

    def requires(self, undefended: Recipe) -> Mapping[str, Recipe]:
        """Recipes it starts from, by role. `undefended` is the same target, same seed, without a defense."""
        return {}

    def problems(self, facts: ModelFacts) -> list[str]:
        """Why it cannot work on this architecture; each a sentence with what to do."""
        return []

    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        """Surgery, freezing, heads. Called once before training and once before loading stored weights."""
        return model

    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        """Change images or labels of a training batch, after augmentation. Keeps shapes and the range [0, 1]."""
        return batch

    def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
        """Replaces cross entropy (a scalar); None keeps it."""
        return None

    def penalties(self, forward: Forward, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Named scalars that are added to the loss."""
        return {}

    def post_process(self, probabilities: Tensor, rng: Generator) -> Tensor:
        """What the served model answers: [B, K] -> [B, K], rows sum to 1. White-box attackers never see it."""
        return probabilities

    def off(self) -> Self:
        """This defense at a strength that changes nothing: training equals the undefended training."""
        raise NotImplementedError

    @classmethod
    def owned_slots(cls) -> frozenset[str]:
        """The exclusive hooks it overrides."""
        return frozenset(s for s in OWNED_SLOTS if getattr(cls, s) is not getattr(Defense, s))
