"""The inversion-specific GAN of KedMI, whose discriminator also learns the answers of the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.priors.base import PRIORS, FitContext, Networks, TargetedPrior
from midef.attacks.priors.families.doubling import DoublingPrior
from midef.attacks.priors.networks import macs
from midef.core.lazy import torch
from midef.training.generative.kedmi import KedmiSettings, fit_kedmi
from midef.training.generative.speed import SpeedSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.base import SmallBudget
    from midef.attacks.target_handle import TargetHandle
    from midef.datasets import Splits


@PRIORS.add("kedmi_gan")
@dataclass(frozen=True, kw_only=True)
class KedmiGan(DoublingPrior, TargetedPrior, KedmiSettings, SpeedSettings):
    """Generator and discriminator of one target, trained on public images that this target labels.

    Args:
        latent_dim: Z, >= 1.
        width: channels before the last layer of the generator and after the first of the discriminator, >= 1 (64 in
            the papers).
        steps: discriminator steps, >= 1 (468 per epoch of 30,000 images).
        batch_size: >= 1.
        learning_rate: of both, > 0.
        discriminator_steps: per generator step, >= 1.
        entropy_weight: of the entropy of the classes seen in a drawn batch, >= 0, larger draws images of a surer class
            (it is a sum over the batch, so it grows with batch_size).
        label_mode: how the target labels; `eval` is a trained network's way, once for each public image; `train` asks
            again in every step with batch statistics and dropout, as released codes do that never call `eval()`.
        seed: of weights, batches and latents.
        precision, captured: see `SpeedSettings`.

    Source: Chen et al., ICCV 2021 (KedMI) and released code, LOMMA's and BiDO's copies of it: Adam 2e-4, batch 64, 5
    discriminator steps, entropy weight 1e-4.
    We differ: `eval` is the default; labels carry no gradient into the target, where it is of no use; every batch is
    full, the released code ends a pass at the last full one.
    """

    paper: ClassVar[str] = "Chen et al., ICCV 2021 (KedMI)"
    asks: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "orig": {"steps": 120 * 468, "label_mode": "train"},
        "lomma": {"steps": 120 * 468, "label_mode": "train"},
        "bido": {"steps": 100 * 468, "label_mode": "train"},
    }

    latent_dim: int = 100
    width: int = 64
    steps: int = 120 * 468
    batch_size: int = 64
    learning_rate: float = 2e-4
    discriminator_steps: int = 5
    entropy_weight: float = 1e-4
    label_mode: Literal["eval", "train"] = "eval"
    seed: int = 0

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            "latent_dim": budget.latent_dim,
            "width": budget.width,
            "steps": budget.steps,
            "batch_size": budget.batch_size,
            "learning_rate": 1e-3,
            "discriminator_steps": 1,
        }

    def __post_init__(self) -> None:
        for name in ("latent_dim", "width", "steps", "batch_size", "discriminator_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"needs {name} >= 1, got {getattr(self, name)}")
        if self.learning_rate <= 0 or self.entropy_weight < 0:
            raise ValueError(
                f"needs learning_rate > 0 and entropy_weight >= 0, got {self.learning_rate}, {self.entropy_weight}"
            )

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.attacks.priors.networks.dcgan import Generator
        from midef.attacks.priors.networks.kedmi import MinibatchDiscriminator

        own_px = self.drawn_px(resolution_px)
        return {
            "generator": Generator(self.latent_dim, own_px, self.width, resolution_px),
            "discriminator": MinibatchDiscriminator(n_classes, own_px, self.width),
        }

    @override
    def gflop(self, resolution_px: int) -> float:
        return 2e-9 * macs.of_generator(self.latent_dim, self.drawn_px(resolution_px), self.width)

    @override
    def learned_gflop(self, resolution_px: int) -> float:
        own_px = self.drawn_px(resolution_px)
        drawn = self.gflop(resolution_px) * (1 / 3 + 1 / self.discriminator_steps)
        judged = 2e-9 * macs.of_minibatch_discriminator(own_px, self.width)
        return drawn + judged * (3 + 4 / 3 / self.discriminator_steps)

    @override
    def fit(self, networks: Networks, public: Splits, handle: TargetHandle, context: FitContext) -> dict[str, Any]:
        generator, discriminator = networks["generator"], networks["discriminator"]
        images = public.all_images
        labels = self.soft_labels(handle, images)
        return fit_kedmi(generator, discriminator, images, labels, self, context.run(self.seed, speed=self))

    def soft_labels(self, handle: TargetHandle, images: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The target's probabilities [B, K], as a function of positions in `images` and of these images."""
        if self.label_mode == "train":
            return lambda index, batch: handle.run_in_train_mode(handle.sized(batch)).float().softmax(dim=1)
        answers = torch.cat([seen.logits for seen in handle.in_chunks(handle.run, images)]).float().softmax(dim=1)
        return lambda index, batch: answers[index]
