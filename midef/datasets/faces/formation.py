"""The formation of procedural faces: standard normal latents to images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from midef.core.lazy import torch
from midef.datasets.base import ImageFormation
from midef.datasets.faces.drawing import render
from midef.datasets.faces.ranges import COLOURS, IDENTITY, JITTER, NUISANCE, PALETTES

if TYPE_CHECKING:
    from torch import Tensor

MIXTURE_SCALE = 1.27
"""Of the latents of a palette: their softmax then has the standard deviation of the Dirichlet distribution, 0.222."""
_SIZES = {name: len(palette) for name, palette in PALETTES.items()}


class FaceFormation(ImageFormation):
    """Faces from 62 standard normal numbers: 24 identity traits, 12 nuisances, then the colours.

    A latent goes through the normal distribution function to a position in the range of its trait, nuisance or colour
    channel, so these follow the population of the data set. The weights of a palette are a softmax of scaled latents:
    a logistic normal with the spread of the data set's Dirichlet distribution, close to it and differentiable.

    Args:
        difficulty: of the data set; amplitude of the nuisances.
    """

    def __init__(self, *, difficulty: float = 1.0) -> None:
        self.difficulty = difficulty
        self.n_traits = len(IDENTITY)
        mixed = sum(size + 3 for size in _SIZES.values())
        self.latent_dim = self.n_traits + len(NUISANCE) + mixed + 3 * len(COLOURS)

    @override
    def images(self, latents: Tensor, resolution_px: int) -> Tensor:
        return render(self.parameters(latents), resolution_px).clamp(0, 1)

    def parameters(self, latents: Tensor) -> dict[str, Tensor]:
        """What `render` takes, by name, of latents [B, latent_dim]: traits and nuisances [B], colours [B, 3]."""
        sizes = [len(IDENTITY) + len(NUISANCE), *(n for size in _SIZES.values() for n in (size, 3))]
        scalars, *colours = latents.split([*sizes, *(3 for _ in COLOURS)], dim=1)
        names, low, width = self._ranges(latents)
        face = dict(zip(names, (low + width * torch.special.ndtr(scalars)).unbind(dim=1), strict=True))
        for i, (name, palette) in enumerate(PALETTES.items()):
            weights = (MIXTURE_SCALE * colours[2 * i]).softmax(dim=1)
            jitter = JITTER * (torch.special.ndtr(colours[2 * i + 1]) - 0.5)
            face[name] = weights @ _table(palette, latents) + jitter
        for (name, (base, spread, offset)), drawn in zip(COLOURS.items(), colours[2 * len(PALETTES) :], strict=True):
            face[name] = _table([base], latents)[0] + spread * (torch.special.ndtr(drawn) - offset)
        return face

    def latents(self, face: Mapping[str, Tensor]) -> Tensor:
        """Latents [B, latent_dim] of parameters, an inverse of `parameters`.

        Args:
            face: what `render` takes, and `skin_mixture` and `hair_mixture` [B, 4], the weights of the palettes, which
                their colours alone do not tell. In float64: a position next to the end of a range needs its digits.
        """
        names, low, width = self._ranges(face["skin"])
        scalars = torch.stack([face[name] for name in names], dim=1)
        units = [torch.where(width > 0, (scalars - low) / width.where(width > 0, torch.ones_like(width)), 0.5)]
        parts = [torch.special.ndtri(_inside(units[0]))]
        for name, palette in PALETTES.items():
            weights = face[f"{name}_mixture"]
            parts.append(weights.clamp(min=1e-30).log() / MIXTURE_SCALE)
            parts.append(torch.special.ndtri(_inside((face[name] - weights @ _table(palette, weights)) / JITTER + 0.5)))
        for name, (base, spread, offset) in COLOURS.items():
            units_of_colour = (face[name] - _table([base], face[name])[0]) / spread + offset
            parts.append(torch.special.ndtri(_inside(units_of_colour)))
        return torch.cat(parts, dim=1)

    def _ranges(self, like: Tensor) -> tuple[list[str], Tensor, Tensor]:
        """Names of traits and nuisances, the low ends of their ranges and how wide these are."""
        ends = [
            *IDENTITY.values(),
            *((self.difficulty * low, self.difficulty * high) for low, high in NUISANCE.values()),
        ]
        low, high = _table(ends, like).T
        return [*IDENTITY, *NUISANCE], low, high - low


def _table(rows: Sequence[Sequence[float]], like: Tensor) -> Tensor:
    """Numbers [R, C] on the device of a tensor, copied there once."""
    from midef.datasets.files.augment import constant

    return constant(tuple(float(v) for row in rows for v in row), like.device, like.dtype).view(len(rows), -1)


def _inside(units: Tensor) -> Tensor:
    """Positions in a range, kept off its ends, where latents are infinite."""
    return units.clamp(2**-54, 1 - 2**-53)
