"""The conditional GAN of PLG-MI: public images labelled by the target, and a generator the target pulls along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.latent_search.conditional import max_margin
from midef.attacks.priors.base import PRIORS, FitContext, Networks, TargetedPrior
from midef.attacks.priors.families.doubling import DoublingPrior
from midef.attacks.priors.networks import macs
from midef.core.in_step import in_step
from midef.core.lazy import torch
from midef.training.generative.plg import PlgSettings, fit_plg, top_labelled
from midef.training.generative.speed import SpeedSettings

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from midef.attacks.base import SmallBudget
    from midef.attacks.target_handle import TargetHandle
    from midef.datasets import Splits


@PRIORS.add("plg_gan")
@dataclass(frozen=True, kw_only=True)
class PlgGan(DoublingPrior, TargetedPrior, PlgSettings, SpeedSettings):
    """Hinge GAN on the public images the target is surest of for each class, plus alpha max-margin through the target.

    Args:
        latent_dim: Z.
        width: channels of the last block of the generator and the first of the discriminator (64 in the paper).
        steps: generator steps, each followed by critic_steps steps of the discriminator.
        batch_size, learning_rate: of both networks' Adam.
        top: public images labelled with each class, those with its largest probabilities (one image may get many
            labels; a smaller public set is labelled whole).
        alpha: weight of the target's loss on drawn images, >= 0, larger follows the target more and the public images
            less.
        range: the generator's tanh is trained towards pictures in [0, 1] but may go below 0. `clamp` shows the target
            the picture, clipped to [0, 1]; `raw` shows it the values below 0 too, as released. The discriminator always
            sees them, as only it can push a pixel back that the clip has cut off from the target.
        precision, captured: see `SpeedSettings`.

    Source: Yuan et al., AAAI 2023, and released code: top 30, alpha 0.2, 30,000 steps of batch 64, 5 discriminator
    steps, Adam 2e-4 with betas (0, 0.9). The last step is kept.
    We differ: `range` is `clamp`, because what an attack returns is a picture.
    """

    paper: ClassVar[str] = "Yuan et al., AAAI 2023 (PLG-MI)"
    asks: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"orig": {"range": "raw"}}

    latent_dim: int = 128
    width: int = 64
    steps: int = 30_000
    batch_size: int = 64
    learning_rate: float = 2e-4
    critic_steps: int = 5
    top: int = 30
    alpha: float = 0.2
    range: Literal["clamp", "raw"] = "clamp"
    seed: int = 0

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            "latent_dim": budget.latent_dim,
            "width": budget.width // 2,
            "steps": budget.steps,
            "batch_size": budget.batch_size,
            "learning_rate": 5e-4,
            "critic_steps": 1,
        }

    def __post_init__(self) -> None:
        for name in ("latent_dim", "width", "steps", "critic_steps", "top"):
            if getattr(self, name) < 1:
                raise ValueError(f"needs {name} >= 1, got {getattr(self, name)}")
        if self.batch_size < 2:
            raise ValueError(f"needs batch_size >= 2 for the generator's batch norm, got {self.batch_size}")
        if self.learning_rate <= 0 or self.alpha < 0:
            raise ValueError(f"needs learning_rate > 0 and alpha >= 0, got {self.learning_rate}, {self.alpha}")

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.attacks.priors.networks.conditional import ConditionalGenerator, ProjectionDiscriminator

        own_px = self.drawn_px(resolution_px)
        return {
            "generator": ConditionalGenerator(self.latent_dim, n_classes, own_px, self.width, resolution_px),
            "discriminator": ProjectionDiscriminator(n_classes, own_px, self.width),
        }

    @override
    def gflop(self, resolution_px: int) -> float:
        return 2e-9 * macs.of_conditional_generator(self.latent_dim, self.drawn_px(resolution_px), self.width)

    @override
    def learned_gflop(self, resolution_px: int) -> float:
        own_px = self.drawn_px(resolution_px)
        judged = 2e-9 * macs.of_down_trunk(own_px, self.width)
        return self.gflop(resolution_px) * (1 + self.critic_steps / 3) + judged * (1 + 2 * self.critic_steps)

    def shown(self, drawn: Tensor) -> Tensor:
        """Images shown to the target, made of those the generator drew."""
        return drawn.clamp(0, 1) if self.range == "clamp" else drawn

    @override
    def fit(self, networks: Networks, public: Splits, handle: TargetHandle, context: FitContext) -> dict[str, Any]:
        images = public.all_images
        logits = torch.cat([seen.logits for seen in handle.in_chunks(handle.run, images)])
        chosen, sureness = top_labelled(logits.float().softmax(dim=1), self.top)

        @in_step
        def identity_loss(drawn: Tensor, labels: Tensor, rng: Generator) -> Tensor:
            from midef.attacks.latent_search.views import VIEW_DRAWS, slightly_changed

            draws = torch.rand(len(drawn), VIEW_DRAWS, generator=rng, device=drawn.device)
            view = slightly_changed(self.shown(drawn), draws, jitter_p=0.5)
            return max_margin(handle.run(handle.sized(view)).logits.float(), labels)

        generator, discriminator = networks["generator"], networks["discriminator"]
        losses = fit_plg(
            generator, discriminator, images, chosen, identity_loss, self, context.run(self.seed, speed=self)
        )
        return {**losses, "label_probability": float(sureness.mean())}
