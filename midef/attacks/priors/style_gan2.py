"""StyleGAN2: trained here on public images, or published; every attack that searches its latents takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.priors.base import PRIORS, FitContext, Networks, PublicPrior
from midef.attacks.priors.families.doubling import at, resolution_of
from midef.attacks.priors.networks.style_macs import of_discriminator, of_synthesis
from midef.core.errors import DataError
from midef.core.in_step import in_step
from midef.core.recipe import Recipe
from midef.nn.doubling import SMALLEST_PX, drawn_for
from midef.training.generative.speed import SpeedSettings
from midef.training.generative.style_gan import StyleGanSettings, fit_style_gan, resized_8_bits

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Generator, Tensor, nn

    from midef.attacks.base import SmallBudget
    from midef.datasets import Splits
    from midef.nn.named_file import NamedFile


PUBLISHED_LATENT_DIM = 512
"""Of every published generator."""
_CPU = {
    "resolution_px": 64,
    "latent_dim": 128,
    "channel_base": 1024,
    "channel_max": 128,
    "steps": 10_000,
    "batch_size": 16,
    "r1": 0.05,
    "ada_images": 100_000,
    "ema_images": 10_000,
    "mirror": True,
}
_CPU_32 = {"resolution_px": 32, "steps": 12_000, "r1": 0.0128}


@PRIORS.add("style_gan2")
@dataclass(frozen=True, kw_only=True)
class StyleGan2(PublicPrior, StyleGanSettings, SpeedSettings):
    """StyleGAN2 trained on public images with adaptive augmentation, or a published one; the target is never asked.

    Args:
        weights: `none` trains; any other is a published generator, read from a file of `midef convert` in
            `$MIDEF_WEIGHTS`: nothing is trained, the public images are not looked at, latents have 512 numbers, and
            the fields below stay unused.
        resolution_px: of the images it learns and draws, a power of two from 8 up, 0 for that of the setup, or, where
            that is none, for the next one up (256 between 64 and 256 px). Public images are read or resized at it, and
            what it draws is resized to the setup's. Reconstructions of a larger one are kept at the evaluator's
            resolution, if that is above the setup's.
        latent_dim: Z, of latents and styles alike.
        mapping_layers: linear layers from one to the other, >= 1.
        channel_base, channel_max: channels at r px are channel_base / r, at most channel_max.
        steps: one of each network.
        batch_size: divisible by 4 makes full groups for the discriminator.
        learning_rate: Adam's.
        r1: weight of the discriminator's slope at real images, >= 0.
        ada_target: mean sign of the scores of real images the augmentation is adapted to, in (0, 1], 1 never augments.
        ada_images: images after which the augmentation's probability may have gone from 0 to 1.
        ema_images: half-life of the average of the generator, which is what attacks draw from.
        mirror: public images are learned mirrored, too, each half of the time.
        precision, captured: see `SpeedSettings`.

    `cpu-32` and `cpu-64` are for some thousand faces on a CPU: a step took 0.27 and 0.53 CPU seconds, all of them
    about 54 and 88 minutes of one core.

    Source: Wang et al., NeurIPS 2021 (VMI), released options: 2,298,000 images after 1,169,000 of an earlier run, 64 in
    a batch. We differ: see `fit_style_gan` and `augmented` for what of StyleGAN2-ADA is left out.
    """

    version: ClassVar[int] = 2
    paper: ClassVar[str] = "Wang et al., NeurIPS 2021 (VMI); Karras et al., NeurIPS 2020 (StyleGAN2-ADA)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "orig": {},
        "cpu-32": {**_CPU, **_CPU_32},
        "cpu-64": _CPU,
        **{name: {"weights": name} for name in ("ffhq", "metfaces", "afhq-dog", "ffhq-256", "ffhq-256-ada")},
    }

    weights: Literal["none", "ffhq", "metfaces", "afhq-dog", "ffhq-256", "ffhq-256-ada"] = "none"
    resolution_px: int = 0
    latent_dim: int = 512
    mapping_layers: int = 2
    channel_base: int = 16384
    channel_max: int = 512
    steps: int = 3_467_000 // 64
    batch_size: int = 64
    learning_rate: float = 0.0025
    r1: float = 0.0128
    ada_target: float = 0.6
    ada_images: int = 500_000
    ema_images: int = 20_000
    mirror: bool = False
    seed: int = 0

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            "latent_dim": budget.latent_dim,
            "channel_base": 64 * budget.width,
            "channel_max": 2 * budget.width,
            "steps": budget.public_steps,
            "batch_size": budget.batch_size,
        }

    def __post_init__(self) -> None:
        if self.is_published:  # a small profile may have given another number; attacks ask for this one
            object.__setattr__(self, "latent_dim", PUBLISHED_LATENT_DIM)
        counts = ("latent_dim", "mapping_layers", "channel_base", "channel_max", "steps", "batch_size")
        for name in (*counts, "ada_images", "ema_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"needs {name} >= 1, got {getattr(self, name)}")
        if self.learning_rate <= 0 or self.r1 < 0:
            raise ValueError(f"needs learning_rate > 0 and r1 >= 0, got {self.learning_rate}, {self.r1}")
        if self.precision == "bfloat16":
            raise ValueError(
                "its networks compute in float32 whatever the precision around them; choose precision float32 or tf32"
            )
        if self.resolution_px and (text := super().problems(self.resolution_px)):
            raise ValueError(text[0])
        if not 0 < self.ada_target <= 1:
            raise ValueError(f"needs 0 < ada_target <= 1, got {self.ada_target}")

    @property
    def is_published(self) -> bool:
        """True where somebody else trained it."""
        return self.weights != "none"

    @property
    @override
    def subject(self) -> str:
        if not self.is_published:
            return ""
        from midef.attacks.priors.published.files import PUBLISHED

        return PUBLISHED[self.weights].shows

    @override
    def images_trained_on(self, public_images: int) -> int:
        return 0 if self.is_published else super().images_trained_on(public_images)

    @override
    def recipe(self, *, public: Recipe, target: Recipe) -> Recipe:
        if not self.is_published:
            asked_px = resolution_of(public)
            own_px = max(self.drawn_px(asked_px), asked_px)  # nothing is learned from enlarged images
            return super().recipe(public=at(public, own_px), target=target)
        from midef.attacks.priors.published.files import digests

        choice = PRIORS.describe(StyleGan2(weights=self.weights))
        params = {"params": choice.params, "sha256": digests(self.weights)}
        return Recipe(self.kind, choice.name, params, {}, choice.version)

    @override
    def lacking(self) -> list[str]:
        from midef.attacks.priors.published.files import missing

        return missing(self.weights) if self.is_published else []

    @override
    def files(self) -> list[NamedFile]:
        from midef.attacks.priors.published.files import converted

        return converted(self.weights) if self.is_published else []

    @override
    def given(self, recipe: Recipe, folder: Path) -> dict[str, Any] | None:
        from midef.attacks.priors.published.files import bring

        return bring(self.weights, recipe.params["sha256"], folder) if self.is_published else None

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if self.resolution_px or self.is_published or resolution_px >= SMALLEST_PX:
            return []
        return [f"{text}, or the prior's own resolution_px" for text in super().problems(resolution_px)]

    def n_blocks(self, resolution_px: int) -> int:
        """Blocks of its generator, which draw at 4, 8, 16, ... px.

        Args:
            resolution_px: of the setup.
        """
        return self.drawn_px(resolution_px).bit_length() - 2

    @override
    def drawn_px(self, resolution_px: int) -> int:
        if self.is_published:
            from midef.attacks.priors.published.files import PUBLISHED

            return PUBLISHED[self.weights].resolution_px
        return self.resolution_px or drawn_for(resolution_px)

    @property
    def _channels(self) -> tuple[int, int]:
        if not self.is_published:
            return self.channel_base, self.channel_max
        from midef.attacks.priors.published.files import PUBLISHED

        return PUBLISHED[self.weights].channel_base, PUBLISHED_LATENT_DIM

    @override
    def gflop(self, resolution_px: int) -> float:
        return 2e-9 * of_synthesis(self.drawn_px(resolution_px), *self._channels)

    @override
    def learned_gflop(self, resolution_px: int) -> float:
        """Of a step for each image of its batch, in forward passes of which two more go back: the generator draws
        twice, once without going back; the discriminator learns a drawn and a real image, judges another drawn one
        whose slope alone is needed, and every 16th step gives the slope of a slope."""
        px = self.drawn_px(resolution_px)
        return self.gflop(resolution_px) * 4 / 3 + 2e-9 * of_discriminator(px, *self._channels) * (2 + 2 / 3 + 2 / 16)

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.attacks.priors.networks.style_gan2 import StyleGenerator
        from midef.attacks.priors.networks.style_gan2_discriminator import StyleDiscriminator

        if self.is_published:
            raise DataError(f"{self.weights} weights have no fresh networks; they are loaded")
        own_px = self.drawn_px(resolution_px)
        widths = self.channel_base, self.channel_max
        return {
            "generator": StyleGenerator(self.latent_dim, self.mapping_layers, own_px, *widths, shown_px=resolution_px),
            "discriminator": StyleDiscriminator(own_px, *widths),
        }

    @override
    def load(self, folder: Path, resolution_px: int, n_classes: int, device: str) -> dict[str, nn.Module]:
        if not self.is_published:
            return super().load(folder, resolution_px, n_classes, device)
        from midef.attacks.priors.published.files import load

        return load(self.weights, folder, resolution_px, device)

    @override
    def fit(self, networks: Networks, public: Splits, context: FitContext) -> dict[str, Any]:
        from midef.attacks.priors.networks.style_gan2 import StyleGenerator

        @in_step
        def draw(generator: nn.Module, latents: Tensor, rng: Generator) -> Tensor:
            assert isinstance(generator, StyleGenerator)
            images: Tensor = generator.synthesis(generator.mapping(latents), rng)
            return images

        generator = networks["generator"]
        assert isinstance(generator, StyleGenerator)
        return fit_style_gan(
            generator,
            networks["discriminator"],
            resized_8_bits(public.all_images, generator.resolution_px),
            draw,
            generator.num_ws,
            self,
            context.run(self.seed, speed=self),
        )
