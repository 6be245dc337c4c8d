"""Rows of a latent search: what is searched together, each with random numbers of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.lazy import torch
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.base import Task
    from midef.attacks.latent_search.recording import StepRecorder
    from midef.attacks.latent_search.streams import RowStreams

Networks = Mapping[str, "nn.Module"]
Pair = tuple[int, int]
"""An identity, and which restart or candidate of it; -1 where a row serves all restarts of the identity."""


@dataclass(frozen=True)
class Rows:
    """Rows that are searched together.

    Args:
        labels: [N].
        noise: a random stream for each row.
        chosen: latents [N, Z] that were chosen to start from; None where nothing was.
        recorder: writes down what the target answers while they are searched.
        stage: of the search, from 0.
        begun: the searched values at the start of this stage, where the attack `remembers_start`.
    """

    labels: Tensor
    seeds: Sequence[int]
    noise: RowStreams
    chosen: Tensor | None = None
    recorder: StepRecorder | None = None
    stage: int = 0
    begun: Sequence[Tensor] = ()


def rows_of(purpose: str, owners: Sequence[Pair], task: Task) -> Rows:
    """A row for each owner, with a random stream that is its own for this purpose."""
    from midef.attacks.latent_search.streams import RowStreams

    seeds = [derive_seed(purpose, task.seed, label, restart) for label, restart in owners]
    labels = torch.tensor([label for label, _ in owners], device=task.device)
    return Rows(labels, seeds, RowStreams(seeds, task.device))


def not_finite_rows(values: Sequence[Tensor]) -> Tensor:
    """[N], True for the rows of tensors [N, ...] that hold an infinite value or none that is a number.

    Pictures of such rows must be NaN: bounds on latents, or a generator that ends in a sigmoid, make faces of infinity.
    """
    return torch.stack([~value.detach().isfinite().flatten(1).all(dim=1) for value in values]).any(dim=0)


def nan_where(is_lost: Tensor, images: Tensor) -> Tensor:
    """Images [N, 3, H, W], NaN those of lost rows [N]."""
    return torch.where(is_lost[:, None, None, None], torch.nan, images)


def known_traits(generator: nn.Module, latents: Tensor) -> Tensor | None:
    """Traits [N, n_traits] of latents [N, Z], where the generator's first coordinates are the identity."""
    count = int(getattr(generator, "n_traits", 0))
    return latents[:, :count].float().cpu() if count else None
