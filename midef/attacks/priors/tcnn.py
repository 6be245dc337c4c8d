"""The inversion network of Yang et al.: from an answer of the target back to an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.priors.base import PRIORS, FitContext, Networks
from midef.attacks.priors.families.doubling import USUAL_PX, DoublingPrior
from midef.attacks.priors.families.inversion import Inverter
from midef.attacks.priors.networks import macs
from midef.nn.answers import mean_loss, score_features
from midef.training.generative.inverter import InverterSettings, fit_inverter
from midef.training.generative.speed import SpeedSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.base import SmallBudget
    from midef.attacks.target_handle import TargetHandle
    from midef.datasets import Splits


@PRIORS.add("tcnn")
@dataclass(frozen=True, kw_only=True)
class Tcnn(DoublingPrior, Inverter, InverterSettings, SpeedSettings):
    """Transposed CNN trained on (served scores, public image) pairs of one target.

    Args:
        width: channels before the last layer (128 in the paper).
        blocks: transposed convolutions, 4, 5 or 6; None takes what the resolution needs, 5 at 64 px (the paper's) and
            4 at 32 px, see `TransposedCnn` for the others.
        top: how many of the largest scores are known, None all.
        checkpoint: keep the `last` epoch, or the one with the smallest error on held-out public pairs.
        loss: of its training, `mse` or `psnr`, minus the mean peak signal-to-noise ratio in dB; held-out errors are
            mean squared ones in any case.
        answers, answer_noise, half, seed: see `Inverter`.
        precision, captured: see `SpeedSettings`.

    Source: Yang et al., CCS 2019, and released code: Adam 2e-4, betas (0.5, 0.999), amsgrad, batch 128, 100 epochs.
    Four and six blocks, and PSNR: the LPA data-poisoning paper, which does not say how the networks are built.
    We differ: the released code keeps the epoch whose error is smallest on the private training images. No attacker has
    them, and a choice made on what is to be reconstructed makes the attack look better than it is: it is not offered.
    """

    paper: ClassVar[str] = "Yang et al., CCS 2019"

    width: int = 128
    blocks: int | None = None
    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 2e-4
    top: int | None = None
    loss: Literal["mse", "psnr"] = "mse"
    checkpoint: Literal["last", "best_held_out"] = "last"

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"width": budget.inverter_width, "epochs": budget.epochs}

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.width, self.epochs) < 1 or self.batch_size < 2 or (self.top is not None and self.top < 1):
            raise ValueError("needs width, epochs and top >= 1 and batch_size >= 2")
        if self.blocks not in (None, 4, 5, 6):
            raise ValueError(f"needs blocks 4, 5 or 6, or none given for what the resolution needs, got {self.blocks}")
        if self.learning_rate <= 0:
            raise ValueError(f"needs learning_rate > 0, got {self.learning_rate}")

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.nn.inversion import TransposedCnn

        own_px = self.drawn_px(resolution_px)
        return {"inverter": TransposedCnn(n_classes, own_px, self.width, self.blocks, shown_px=resolution_px)}

    @override
    def gflop(self, resolution_px: int) -> float:
        return 2e-9 * macs.of_transposed_cnn(self.drawn_px(resolution_px), self.width, self.blocks)

    @override
    def learned_gflop(self, resolution_px: int) -> float:
        return 0.0 if self.drawn_px(resolution_px) <= USUAL_PX else self.gflop(resolution_px)

    @override
    def fit(self, networks: Networks, public: Splits, handle: TargetHandle, context: FitContext) -> dict[str, Any]:
        pairs = self.answered(handle, public)
        pairs = replace(pairs, answers=self.features(pairs.answers), held_answers=self.features(pairs.held_answers))
        loss = None if self.loss == "mse" else mean_loss(self.loss)
        return fit_inverter(networks["inverter"], pairs, self, context.run(self.seed, speed=self), loss=loss)

    def features(self, answers: Tensor) -> Tensor:
        """Input of the network [N, K] for answers [N, K]."""
        return score_features(answers, top=self.top)
