"""A diffusion model of public images, conditioned on the target's answer to each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.priors.base import PRIORS, FitContext, Networks
from midef.attacks.priors.families.doubling import USUAL_PX, DoublingPrior
from midef.attacks.priors.families.inversion import Inverter
from midef.core.lazy import torch
from midef.training.generative.diffusion import DenoiserSettings, fit_denoiser
from midef.training.generative.speed import SpeedSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.base import SmallBudget
    from midef.attacks.target_handle import TargetHandle
    from midef.datasets import Splits


@PRIORS.add("diffusion")
@dataclass(frozen=True, kw_only=True)
class Diffusion(DoublingPrior, Inverter, DenoiserSettings, SpeedSettings):
    """U-Net that predicts the noise in a public image, given the answer the target served for that image.

    Args:
        width: channels at full resolution, a multiple of 8; at 8 a group of the last norm is one channel, which takes
            the mean colour from an image, so choose 16 or more.
        noise_steps: from image to noise.
        beta_first, beta_last: share of the variance replaced in the first and in the last step, in (0, 1), rising
            linearly between. Fewer steps need a larger beta_last: keep noise_steps * beta_last near 8, or the last step
            is not yet noise.
        drop_context: share of answers set to zero in training, in (0, 1); this teaches the network the unconditional
            noise that guidance needs.
        answers, answer_noise, half, seed: see `Inverter`.
        precision, captured: see `SpeedSettings`.

    Source: Ho et al., NeurIPS 2020 (DDPM); Ho and Salimans, 2022 (classifier-free guidance); the LPA data-poisoning
    paper, which inverts with such a model and gives only the guidance. Its values and words are those of a minimal
    implementation for digits (github TeaPearce/Conditional_Diffusion_MNIST), so we infer that network, schedule and
    training, with the one-hot label replaced by the score vector as it is (no logarithm). Like there, images are
    modelled in [0, 1], not [-1, 1]. We differ: the pooling takes the whole map at every resolution, and the learning
    rate falls in every training step.
    """

    paper: ClassVar[str] = "Ho et al., NeurIPS 2020 (DDPM); Ho and Salimans, 2022"
    gflop_64px: ClassVar[float] = 0.1

    width: int = 128
    noise_steps: int = 400
    beta_first: float = 1e-4
    beta_last: float = 0.02
    drop_context: float = 0.1
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 1e-4

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {  # fewer steps need larger betas, so that the last one still ends in noise
            "width": max(8, budget.width),
            "noise_steps": min(50, budget.steps),
            "beta_last": 0.16,
            "epochs": max(2, 3 * budget.epochs // 20),
            "batch_size": 2 * budget.batch_size,
            "learning_rate": 2e-3,
        }

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 8 or self.width % 8:
            raise ValueError(f"needs width as a multiple of 8 (its group norms have 8 groups), got {self.width}")
        if min(self.noise_steps, self.epochs, self.batch_size) < 1 or self.learning_rate <= 0:
            raise ValueError("needs noise_steps, epochs and batch_size >= 1 and learning_rate > 0")
        if not 0 < self.beta_first <= self.beta_last < 1:
            raise ValueError(f"needs 0 < beta_first <= beta_last < 1, got {self.beta_first}, {self.beta_last}")
        if not 0 < self.drop_context < 1:
            raise ValueError(f"needs 0 < drop_context < 1, got {self.drop_context}")

    @override
    def images_trained_on(self, public_images: int) -> int:
        return 10 * super().images_trained_on(public_images)  # a U-Net works at full resolution

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.attacks.priors.networks.unet import Denoiser

        return {"denoiser": Denoiser(n_classes, self.drawn_px(resolution_px), self.width)}

    @override
    def gflop(self, resolution_px: int) -> float:
        return super().gflop(self.drawn_px(resolution_px)) * (self.width / 16) ** 2

    @override
    def learned_gflop(self, resolution_px: int) -> float:
        return 0.0 if self.drawn_px(resolution_px) <= USUAL_PX else self.gflop(resolution_px)

    @override
    def fit(self, networks: Networks, public: Splits, handle: TargetHandle, context: FitContext) -> dict[str, Any]:
        pairs = self.answered(handle, public)
        return fit_denoiser(networks["denoiser"], pairs, self.betas(), self, context.run(self.seed, speed=self))

    def betas(self) -> Tensor:
        """[noise_steps] float64, rising linearly."""
        return torch.linspace(self.beta_first, self.beta_last, self.noise_steps, dtype=torch.float64)
