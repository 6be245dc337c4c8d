"""The generator of the prior `renderer`: an image formation as a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.datasets import Dataset, ImageFormation


class Rendered(nn.Module):
    """Images of latents as those of a data set were made; it has no weights."""

    def __init__(self, resolution_px: int) -> None:
        super().__init__()
        self.resolution_px = resolution_px
        self._of: tuple[Dataset, ImageFormation] | None = None

    def draw_as(self, data_set: Dataset) -> None:
        """Take the image formation of a data set that has one."""
        formation = data_set.formation()
        assert formation is not None, "the prior checks it before"
        self._of = data_set, formation

    @property
    def data_set(self) -> Dataset:
        """Whose formation it has."""
        return self._known[0]

    @property
    def latent_dim(self) -> int:
        """Z."""
        return self._known[1].latent_dim

    @property
    def n_traits(self) -> int:
        """Latent coordinates, the first ones, that are the identity in an image."""
        return self._known[1].n_traits

    @property
    def _known(self) -> tuple[Dataset, ImageFormation]:
        assert self._of is not None, "fit or load the prior before its generator draws"
        return self._of

    @override
    def forward(self, latents: Tensor) -> Tensor:
        """[B, Z] -> [B, 3, R, R] in [0, 1]."""
        with torch.autocast(latents.device.type, enabled=False):  # distances need their digits
            return self._known[1].images(latents.float(), self.resolution_px)
