"""Trap-MID: a trapdoor per class, which an inversion attack finds instead of the person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from midef.defenses.base import DEFENSES, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from midef.defenses.training_state import TrainingFacts, TrainingState
    from midef.nn.network import TargetModel


@DEFENSES.add("trap_mid")
@dataclass(frozen=True, kw_only=True)
class TrapMid(Defense):
    """Train (1 - beta) CE(f(aug x), y) + beta CE(f(aug x'), c) on x' = (1 - alpha) x + alpha T_c, c drawn for each x.

    Each class c has a trigger T_c, an image that learns to make x' look clean to a discriminator and be classified as
    c. Every c is drawn equally often in an epoch, whatever y is.

    Args:
        alpha: share of the trigger in x', 0 <= alpha < 1; larger is easier to learn and easier to see, 0 leaves x'
            = x with a wrong label.
        beta: weight of the trapped images, 0 <= beta < 1; larger hides more, 0 is plain training (off).
        learn_triggers: False keeps the triggers as drawn and needs no discriminator.
        trigger_init: `uniform` in [0, 1], or `gaussian` around mid-grey (mean and deviation 0.5, clipped to [0,
            1]).
        trigger_step: `sign` moves each pixel by step_size, `gradient` by step_size times the slope; then triggers
            are clipped to [0, 1].
        step_size: > 0.
        crop_low, crop_p: smallest share of the area of a square crop resized to full size, and its probability.
        flip_p: probability of a mirror image.
        degrees, rotate_p: largest rotation, 0 to 180, and its probability.

    `aug`, the fields from crop_low on, is drawn anew for clean and for trapped images, after the recipe's own
    augmentation; without it the trap is brittle and the defense fails.

    Preset `facescrub-resnet152` is what LoFt's authors ran as a competitor, not the paper's own setting. With NLS the
    paper trains by Adam (1e-3, batches of 128, 100 epochs, steps at 75 and 90); NLS then acts on clean images only.

    Source: Trap-MID, NeurIPS 2024, its algorithm and released code: discriminator, trigger step, then one joint pass.
    We differ: the discriminator stays in train mode and sees clean and trapped images in one batch, also when it judges
    the triggers (the code's mode is not known to us); its loss is the mean over both. The steps before the joint pass
    run in float32 whatever the recipe's precision. The mean and deviation of `gaussian` are our choice. The script of
    LoFt's authors builds the discriminator's optimizer on the target's parameters and so never trains it: not copied.
    """

    paper: ClassVar[str] = "Liu and Chen, NeurIPS 2024 (arXiv 2411.08460)"
    acts_on: ClassVar[str] = "training images and loss"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba-vgg16": {"alpha": 0.02, "beta": 0.2},
        "mnist-resnet18": {"alpha": 0.02, "beta": 0.2},
        "facescrub-resnet152": {
            "alpha": 0.02,
            "beta": 0.2,
            "trigger_init": "gaussian",
            "trigger_step": "gradient",
            "step_size": 1e-3,
        },
    }
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="beta", low=0.01, high=0.9)
    couples_images: ClassVar[bool] = True
    training_work: ClassVar[float] = 5.0

    alpha: float = 0.02
    beta: float = 0.2
    learn_triggers: bool = True
    trigger_init: Literal["uniform", "gaussian"] = "uniform"
    trigger_step: Literal["sign", "gradient"] = "sign"
    step_size: float = 0.01
    crop_low: float = 0.8
    crop_p: float = 0.5
    flip_p: float = 0.5
    degrees: float = 30.0
    rotate_p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < 1 or not 0 <= self.beta < 1:
            raise ValueError(f"needs 0 <= alpha < 1 and 0 <= beta < 1, got {self.alpha} and {self.beta}")
        if self.step_size <= 0:
            raise ValueError(f"needs step_size > 0 (learn_triggers=false keeps triggers), got {self.step_size}")
        if not 0 < self.crop_low <= 1 or not 0 <= self.degrees <= 180:
            raise ValueError(f"needs 0 < crop_low <= 1 and 0 <= degrees <= 180, got {self.crop_low} and {self.degrees}")
        shares = (self.crop_p, self.flip_p, self.rotate_p)
        if not all(0 <= p <= 1 for p in shares):
            raise ValueError(f"needs crop_p, flip_p and rotate_p in [0, 1], got {', '.join(map(str, shares))}")

    @override
    def training_state(self, model: TargetModel, facts: TrainingFacts) -> TrainingState | None:
        from midef.defenses.families.trapdoors import TrapTrainingState

        return TrapTrainingState(self, model, facts) if self.beta else None

    @override
    def off(self) -> Self:
        return replace(self, beta=0.0)
