"""LOKT's surrogates: classifiers that learn a label-only target from the images of its GAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.latent_search.memory import drawn_at_once
from midef.attacks.priors.base import PRIORS, FitContext, Networks, TargetedPrior
from midef.attacks.priors.families.classifiers import Family, StartWeights, family_problems, missing_files, start_files
from midef.attacks.priors.t_acgan import TAcgan
from midef.core.in_step import in_step
from midef.core.lazy import torch
from midef.core.position import share, steps
from midef.training.generative.speed import SpeedSettings
from midef.training.generative.surrogates import SurrogateSettings, draw_labelled, fit_surrogate

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from midef.attacks.base import SmallBudget
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Recipe
    from midef.datasets import Splits
    from midef.nn.named_file import NamedFile

CHUNK = 512
"""Images drawn and asked at once. Changes memory and speed, not results."""
_DRAWING = 0.1
"""Share of the work that drawing and asking is taken for, where its progress is shown."""


@PRIORS.add("lokt_surrogates")
@dataclass(frozen=True, kw_only=True)
class LoktSurrogates(TargetedPrior, SurrogateSettings, SpeedSettings):
    """Draw images of every class with the GAN, let the target label them, and train classifiers on these labels.

    Networks: `surrogate0`, `surrogate1`, ... give logits [N, K] of images [N, 3, R, R] in [0, 1]. The target labels
    classes * latents_per_class images, half a million for 1000 classes.

    Args:
        family: `densenet` is 121, 161, 169 in this order, `efficientnet` is B0, B1, B2, `cnn_tiny` three small networks
            for a CPU.
        count: how many of them, 1 to 3.
        weights: what the trunks start from, `imagenet` are torchvision's published files, `none` is fresh.
        latents_per_class: >= 1, more labels the target more densely.
        steps: of each surrogate, >= 1 (200 times 117 in the paper).
        batch_size: >= 2.
        learning_rate: > 0, of the first step, falling along a cosine to 0.
        momentum: of SGD, 0 to below 1.
        weight_decay: >= 0.
        jitter_p: share of changed images whose brightness and contrast change, too, 0 to 1.
        seed: of latents, order, changes and fresh weights.
        gan: whose generator draws.
        precision, captured: see `SpeedSettings`.

    Source: Nguyen et al., NeurIPS 2023 (LOKT), released code at b7514172; half the loss is on images as they are, half
    on images cropped, jittered, mirrored and turned. The last weights are used.
    We differ: images are drawn and labelled once and kept as 8 bits on the device (6.1 GB for 1000 classes at 64 px)
    instead of drawn again in each step, which halves the work; the rate falls in each step, not once in 117.
    """

    paper: ClassVar[str] = "Nguyen et al., NeurIPS 2023 (LOKT, arXiv 2310.19342)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"orig": {}}
    kind: ClassVar[str] = "surrogate"
    asks: ClassVar[AccessLevel] = AccessLevel.LABELS

    family: Family = "densenet"
    count: int = 3
    weights: StartWeights = "imagenet"
    latents_per_class: int = 500
    steps: int = 200 * 117
    batch_size: int = 256
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    jitter_p: float = 0.5
    seed: int = 0
    gan: TAcgan = field(default_factory=TAcgan, metadata={"shown": False})

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            "family": "cnn_tiny",
            "weights": "none",
            "latents_per_class": min(50, budget.steps),
            "steps": max(1, budget.steps // 2),
            "batch_size": 2 * budget.batch_size,
            "learning_rate": 0.1,
            "gan": TAcgan.small(budget),
        }

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 3:
            raise ValueError(f"needs 1 <= count <= 3, a family has three networks, got {self.count}")
        if min(self.latents_per_class, self.steps) < 1 or self.batch_size < 2:
            raise ValueError("needs latents_per_class and steps >= 1 and batch_size >= 2")
        if self.learning_rate <= 0 or self.weight_decay < 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                "needs learning_rate > 0, 0 <= momentum < 1 and weight_decay >= 0, "
                f"got {self.learning_rate}, {self.momentum}, {self.weight_decay}"
            )
        if not 0 <= self.jitter_p <= 1:
            raise ValueError(f"needs 0 <= jitter_p <= 1, got {self.jitter_p}")

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return [*self.gan.problems(resolution_px), *family_problems(self.family, self.weights, resolution_px)]

    @override
    def lacking(self) -> list[str]:
        return missing_files(self.family, self.count, self.weights)

    @override
    def files(self) -> list[NamedFile]:
        return start_files(self.family, self.count, self.weights)

    @override
    def requires(self, *, public: Recipe, target: Recipe) -> Mapping[str, Recipe]:
        return {"gan": self.gan.recipe(public=public, target=target)}

    @override
    def queries(self, *, n_classes: int, public_images: int) -> int:
        return n_classes * self.latents_per_class

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.attacks.priors.networks.students import build_student

        return {f"surrogate{i}": build_student(self.family, i, resolution_px, n_classes) for i in range(self.count)}

    @override
    def fit(self, networks: Networks, public: Splits, handle: TargetHandle, context: FitContext) -> dict[str, Any]:
        from midef.attacks.priors.networks.students import start_from_

        for i, network in enumerate(networks.values()):
            start_from_(network, self.family, i, self.weights)  # a missing file is found before the target is asked
        resolution_px = public.train.images.shape[-1]
        gan = self.gan.load(context.inputs.path("gan"), resolution_px, handle.n_classes, context.device)
        with share(0.0, _DRAWING):
            images, labels, label_match = draw_labelled(
                gan["generator"],
                handle.labels,
                latent_dim=self.gan.latent_dim,
                n_classes=handle.n_classes,
                latents_per_class=self.latents_per_class,
                resolution_px=resolution_px,
                chunk=drawn_at_once(CHUNK, gan["generator"]),
                run=context.run(self.seed, speed=self),
            )
        facts: dict[str, Any] = {"label_match": label_match}
        with share(_DRAWING, 1.0):
            for name, network in steps(networks.items()):
                run = context.run(self.seed, name, speed=self)
                of_surrogate = fit_surrogate(network, images, labels, self.change, self, run)
                facts |= {f"{name}_{fact}": value for fact, value in of_surrogate.items()}
        return facts

    @in_step
    def change(self, images: Tensor, rng: Generator) -> Tensor:
        """Images [N, 3, R, R] cropped, jittered, mirrored and turned a little, each on its own."""
        from midef.attacks.latent_search.views import VIEW_DRAWS, slightly_changed

        draws = torch.rand(len(images), VIEW_DRAWS, generator=rng, device=images.device)
        return slightly_changed(images, draws, jitter_p=self.jitter_p)
