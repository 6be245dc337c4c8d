"""The WGAN-GP of GMI, shared by every attack that searches its latent space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.priors.base import PRIORS, FitContext, Networks, PublicPrior
from midef.attacks.priors.families.doubling import DoublingPrior
from midef.attacks.priors.networks import macs
from midef.training.generative.gan import GanSettings, fit_gan
from midef.training.generative.speed import SpeedSettings

if TYPE_CHECKING:
    from torch import nn

    from midef.attacks.base import SmallBudget
    from midef.datasets import Splits


@PRIORS.add("wgan_gp")
@dataclass(frozen=True, kw_only=True)
class WganGp(DoublingPrior, PublicPrior, GanSettings, SpeedSettings):
    """Generator and critic trained on public images; the target is never asked.

    Args:
        latent_dim: Z.
        width: channels before the last layer (64 in the papers).
        steps: critic steps (468 per epoch of 30,000 images).
        critic_steps: critic steps per generator step.
        penalty: weight of the gradient penalty.
        objective: `wasserstein` is the papers'; `non_saturating` trains the same two networks with the first GAN's
            losses, which draw faces after hundreds of steps instead of tens of thousands: for small profiles only.
        precision, captured: see `SpeedSettings`.

    Source: Zhang et al., CVPR 2020 (GMI) and released code: Adam 2e-4, batch 64, 5 critic steps, penalty 10.
    """

    paper: ClassVar[str] = "Zhang et al., CVPR 2020 (GMI)"
    draws_latents: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"orig": {"steps": 280 * 468}, "kedmi": {"steps": 120 * 468}}

    latent_dim: int = 100
    width: int = 64
    steps: int = 120 * 468
    batch_size: int = 64
    learning_rate: float = 2e-4
    critic_steps: int = 5
    penalty: float = 10.0
    objective: Literal["wasserstein", "non_saturating"] = "wasserstein"
    seed: int = 0

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {  # the Wasserstein objective needs tens of thousands of steps before it draws usable faces
            "latent_dim": budget.latent_dim,
            "width": budget.width,
            "steps": budget.public_steps,
            "batch_size": budget.batch_size,
            "learning_rate": 1e-3,
            "critic_steps": 1,
            "objective": "non_saturating",
        }

    def __post_init__(self) -> None:
        for name in ("latent_dim", "width", "steps", "batch_size", "critic_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"needs {name} >= 1, got {getattr(self, name)}")
        if self.learning_rate <= 0 or self.penalty < 0:
            raise ValueError(f"needs learning_rate > 0 and penalty >= 0, got {self.learning_rate}, {self.penalty}")

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.attacks.priors.networks.dcgan import Critic, Generator

        own_px = self.drawn_px(resolution_px)
        return {
            "generator": Generator(self.latent_dim, own_px, self.width, resolution_px),
            "critic": Critic(own_px, self.width),
        }

    @override
    def gflop(self, resolution_px: int) -> float:
        return 2e-9 * macs.of_generator(self.latent_dim, self.drawn_px(resolution_px), self.width)

    @override
    def learned_gflop(self, resolution_px: int) -> float:
        own_px = self.drawn_px(resolution_px)
        # a generator's step is one of several; the critic learns two images, and the slope at a third twice over
        drawn = self.gflop(resolution_px) * (1 / 3 + 1 / self.critic_steps)
        return drawn + 2e-9 * macs.of_critic(own_px, self.width) * (4 + 1 / self.critic_steps)

    @override
    def fit(self, networks: Networks, public: Splits, context: FitContext) -> dict[str, Any]:
        run = context.run(self.seed, speed=self)
        return fit_gan(networks["generator"], networks["critic"], public.all_images, self, run)
