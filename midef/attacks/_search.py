"""The latent search shared by white-box GAN attacks: one loop with open steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from midef.attacks._base import Attack, Reconstructions, Task
from midef.core.lazy import torch
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks._handle import TargetHandle
    from midef.attacks.priors import Prior
    from midef.core.recipe import Inputs, Recipe
    from midef.models._network import Forward

CHUNK = 120
"""Reconstructions optimised together. Changes memory and speed, not results: every loss is per sample."""


@dataclass(frozen=True, kw_only=True)
class LatentSearch(Attack):
    """Optimise latents of a generator until the target sees the identity.

    A subclass fills in: `initial_latents`, `identity_loss`, `prior_loss`, `constrain_`, `optimizer`.
    """

    iterations: int

    @property
    def searched_prior(self) -> Prior:
        """The prior whose latent space is searched."""
        raise NotImplementedError

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return self.searched_prior.problems(resolution_px)

    @override
    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        return {"prior": self.searched_prior.recipe(public=public, target=target)}

    def initial_latents(self, labels: Tensor, restarts: Tensor, latent_dim: int, seed: int) -> Tensor:
        """Start points [N, Z]: standard normal, each from its own (seed, identity, restart)."""
        from midef.attacks.priors._networks import standard_latents

        pairs = zip(labels.tolist(), restarts.tolist(), strict=True)
        return standard_latents([derive_seed("latent", seed, label, restart) for label, restart in pairs], latent_dim)

    def identity_loss(self, forward: Forward, labels: Tensor) -> Tensor:
        """[N], smaller when the target sees the identity more surely."""
        raise NotImplementedError

    def prior_loss(self, networks: dict[str, nn.Module], images: Tensor) -> Tensor:
        """[N], smaller for images the prior finds more real."""
        raise NotImplementedError

    def constrain_(self, latents: Tensor) -> None:
        """Put the latents back where they may be, in place, after every step."""

    def optimizer(self, latents: Tensor) -> torch.optim.Optimizer:
        raise NotImplementedError

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        networks = self.searched_prior.load(inputs.path("prior"), task.resolution_px, handle.n_classes, task.device)
        generator = networks["generator"].to(memory_format=torch.channels_last)
        start = self.initial_latents(task.labels, task.restarts, int(generator.latent_dim), task.seed)  # type: ignore[arg-type]
        images = []
        for z0, labels in zip(start.split(CHUNK), task.labels.split(CHUNK), strict=True):
            latents, labels = z0.to(task.device).requires_grad_(True), labels.to(task.device)
            optimizer = self.optimizer(latents)
            for _ in range(self.iterations):
                drawn = generator(latents)
                per_sample = self.identity_loss(handle.run(drawn), labels) + self.prior_loss(networks, drawn)
                (latents.grad,) = torch.autograd.grad(per_sample.sum(), latents)
                optimizer.step()
                self.constrain_(latents)
            with torch.no_grad():
                images.append(generator(latents).cpu())
        return Reconstructions(torch.cat(images), task.labels, task.restarts, torch.ones_like(task.labels).bool())
