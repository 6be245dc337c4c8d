"""LOKT's GAN: a conditional generator whose classes are those a label-only target names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.priors.base import PRIORS, FitContext, Networks, TargetedPrior
from midef.attacks.priors.families.doubling import DoublingPrior
from midef.attacks.priors.networks import macs
from midef.training.generative.speed import SpeedSettings
from midef.training.generative.t_acgan import TAcganSettings, fit_t_acgan

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.base import SmallBudget
    from midef.attacks.target_handle import TargetHandle
    from midef.datasets import Splits


@PRIORS.add("t_acgan")
@dataclass(frozen=True, kw_only=True)
class TAcgan(DoublingPrior, TargetedPrior, TAcganSettings, SpeedSettings):
    """A conditional GAN on public images whose class head learns the hard labels the target gives to drawn images.

    Networks: `generator` draws images from latents and classes; `discriminator` judges realness and names the class.
    The target labels (iterations - warm_up) * discriminator_steps * batch_size drawn images: 12.16 million by default.

    Args:
        latent_dim: Z, >= 1.
        width: channels at full resolution, 64 in the paper, larger draws finer and costs more.
        iterations: of one generator step each, >= 1.
        warm_up: iterations at the beginning without class terms and without questions, 0 to below iterations.
        discriminator_steps: per iteration, >= 1.
        batch_size: >= 2.
        learning_rate: of both networks, > 0.
        class_weight: of the class terms, > 0, larger ties images to classes more.
        sn_freeze_after_eval: the released code puts the discriminator into eval mode at iteration 1000 and leaves it
            there, which stops the power iteration of its spectral norms; True does the same.
        seed: of latents, classes, order and fresh weights.
        precision, captured: see `SpeedSettings`.

    Source: Nguyen et al., NeurIPS 2023 (LOKT), released code at b7514172; class_weight 1.5 from its instructions, the
    code's default is 0.2. Presets are its public sets: warm-ups, and the iterations of the generators its attacks load
    (the training script runs 19,000 after the warm-up).
    We differ: images are shown to the target clamped to [0, 1], since a served model takes images; the generator ends
    in tanh, and theirs sends what is below 0 as well. The discriminator sees images as they are drawn.
    """

    paper: ClassVar[str] = "Nguyen et al., NeurIPS 2023 (LOKT, arXiv 2310.19342)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba": {"warm_up": 1000, "iterations": 20_000},
        "ffhq": {"warm_up": 2000, "iterations": 21_000},
        "facescrub": {"warm_up": 3000, "iterations": 8000},
        "pubfig": {"warm_up": 6000, "iterations": 11_000},
    }
    asks: ClassVar[AccessLevel] = AccessLevel.LABELS

    latent_dim: int = 128
    width: int = 64
    iterations: int = 20_000
    warm_up: int = 1000
    discriminator_steps: int = 5
    batch_size: int = 128
    learning_rate: float = 2e-4
    class_weight: float = 1.5
    sn_freeze_after_eval: bool = False
    seed: int = 0

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            "latent_dim": budget.latent_dim,
            "width": budget.width // 2,
            "iterations": budget.steps,
            "warm_up": budget.steps // 10,
            "batch_size": budget.batch_size,
            "learning_rate": 5e-4,
            "discriminator_steps": 1,
        }

    def __post_init__(self) -> None:
        for name in ("latent_dim", "width", "iterations", "discriminator_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"needs {name} >= 1, got {getattr(self, name)}")
        if not 0 <= self.warm_up < self.iterations:
            raise ValueError(
                f"needs 0 <= warm_up < iterations, got {self.warm_up} and {self.iterations}; "
                "without an iteration after the warm-up no class is ever learned"
            )
        if self.batch_size < 2 or self.learning_rate <= 0 or self.class_weight <= 0:
            raise ValueError(
                "needs batch_size >= 2, learning_rate > 0 and class_weight > 0, "
                f"got {self.batch_size}, {self.learning_rate}, {self.class_weight}"
            )

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.attacks.priors.networks.conditional import AuxiliaryDiscriminator, ConditionalGenerator

        own_px = self.drawn_px(resolution_px)
        return {
            "generator": ConditionalGenerator(self.latent_dim, n_classes, own_px, self.width, resolution_px),
            "discriminator": AuxiliaryDiscriminator(n_classes, own_px, self.width),
        }

    @override
    def gflop(self, resolution_px: int) -> float:
        return 2e-9 * macs.of_conditional_generator(self.latent_dim, self.drawn_px(resolution_px), self.width)

    @override
    def learned_gflop(self, resolution_px: int) -> float:
        own_px = self.drawn_px(resolution_px)
        judged = 2e-9 * macs.of_down_trunk(own_px, self.width)
        steps = self.discriminator_steps
        return self.gflop(resolution_px) * (1 + steps / 3) + judged * (1 + 2 * steps)

    @override
    def queries(self, *, n_classes: int, public_images: int) -> int:
        return (self.iterations - self.warm_up) * self.discriminator_steps * self.batch_size

    @override
    def fit(self, networks: Networks, public: Splits, handle: TargetHandle, context: FitContext) -> dict[str, Any]:
        generator, discriminator = networks["generator"], networks["discriminator"]
        run = context.run(self.seed, speed=self)

        def ask(images: Tensor) -> Tensor:
            return handle.labels(handle.sized(images))

        return fit_t_acgan(generator, discriminator, public.all_images, ask, handle.n_classes, self, run)
