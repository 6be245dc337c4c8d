"""Training-based inversion with a diffusion model: an image is drawn from noise, led by the target's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Attack, Reconstructions, SmallBudget, Task
from midef.attacks.priors.diffusion import Diffusion
from midef.attacks.priors.families.doubling import USUAL_PX
from midef.core.lazy import torch
from midef.core.position import steps
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.latent_search.streams import RowStreams
    from midef.attacks.priors.networks.unet import Denoiser
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe

CHUNK = 128
"""Rows drawn together at the papers' resolution, fewer above it. Changes memory and speed, not results."""


@ATTACKS.add("diffusion_inverter")
@dataclass(frozen=True, kw_only=True)
class DiffusionInverter(Attack):
    """Draw an image for each answer the attacker observed, from the diffusion model trained on this target's answers.

    Args:
        guidance: w >= 0, 0 draws from the model as it was trained; larger follows the answer more closely, at the
            price of variety, and costs a second pass of the decoder in each step. The published values are 0, 0.5
            and 2; the prior is the same for all.

    Restart r of an identity is its r-th private image of the split that `Protocol.victims` names, as for
    `inversion_model`, with noise of its own.

    Source: the conditional diffusion model of the LPA data-poisoning paper; sampling by Ho et al., NeurIPS 2020,
    algorithm 2, with sigma = sqrt(beta), and guidance by Ho and Salimans, 2022. Only the image of the last step is
    clipped to [0, 1]. See `Diffusion` for what the paper leaves open.
    """

    paper: ClassVar[str] = "Ho et al., NeurIPS 2020; Ho and Salimans, 2022; as used to evaluate LPA"
    access: ClassVar[AccessLevel] = AccessLevel.SCORES
    strength: ClassVar[int] = 2
    needs_observed_scores: ClassVar[bool] = True

    guidance: float = 0.5
    prior: Diffusion = field(default_factory=Diffusion, metadata={"shown": False})

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"prior": Diffusion.small(budget)}

    def __post_init__(self) -> None:
        if self.guidance < 0:
            raise ValueError(f"needs guidance >= 0, got {self.guidance}")

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return self.prior.problems(resolution_px)

    @override
    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        return {"inverter": self.prior.recipe(public=public, target=target)}

    @override
    def queries(self, *, reconstructions: int, identities: int) -> int:
        return 0

    @override
    def images_drawn(self, *, reconstructions: int, identities: int) -> int:
        return reconstructions * self.prior.noise_steps * (2 if self.guidance else 1)

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        from midef.attacks.latent_search.streams import RowStreams
        from midef.nn.resize import resized

        observed = self.prior.observed(task)
        networks = self.prior.load(inputs.path("inverter"), task.resolution_px, handle.n_classes, task.device)
        own_px = self.prior.drawn_px(task.resolution_px)
        denoiser = networks["denoiser"].to(memory_format=torch.channels_last)
        pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))
        seeds = [derive_seed("diffusion", task.seed, *pair) for pair in pairs]
        images = []
        at_once = max(1, CHUNK * USUAL_PX**2 // max(USUAL_PX, own_px) ** 2)
        for begin in steps(range(0, len(pairs), at_once)):
            rows = slice(begin, begin + at_once)
            noise = RowStreams(seeds[rows], task.device)
            drawn = self.draw(denoiser, observed[rows].to(task.device), noise, own_px)  # type: ignore[arg-type]
            images.append(resized(drawn, task.resolution_px).cpu())
        return Reconstructions(torch.cat(images), task.labels, task.restarts, torch.ones_like(task.labels).bool())

    def draw(self, denoiser: Denoiser, answers: Tensor, noise: RowStreams, resolution_px: int) -> Tensor:
        """Images [N, 3, R, R] in [0, 1] for answers [N, K]: all steps from noise back to an image."""
        from midef.training.generative.diffusion import guided, kept_variance, step_back

        betas = self.prior.betas()
        kept = kept_variance(betas).tolist()
        shape = (3, resolution_px, resolution_px)
        with torch.no_grad():
            none = torch.zeros_like(answers)
            images = noise.normal(*shape).contiguous(memory_format=torch.channels_last)
            for step in steps(range(len(betas))[::-1]):  # in step
                share = images.new_full((len(images),), (step + 1) / len(betas))
                seen = denoiser.encode(images)
                predicted = denoiser.decode(seen, share, answers)
                if self.guidance:
                    predicted = guided(predicted, denoiser.decode(seen, share, none), self.guidance)
                fresh = noise.normal(*shape) if step else None
                images = step_back(images, predicted, fresh, beta=float(betas[step]), kept=kept[step])
            return images.clamp(0, 1).contiguous()
