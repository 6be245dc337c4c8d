"""Augmentation of images a discriminator sees, as strong as it takes to keep it unsure.

Source: Karras et al., NeurIPS 2020 (StyleGAN2-ADA).
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

from midef.core.in_step import in_step
from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

ADAPT_EVERY = 4
"""Steps between two adjustments of the probability."""


class AdaptiveAugmentation:
    """Augments images with a probability that follows how sure a discriminator is of real ones; see `adapted`.

    Args:
        target: mean sign of the scores of real images the probability is adjusted to.
        images: after so many, the probability may have gone from 0 to 1.
        batch_size: real images in a step.
    """

    def __init__(self, *, target: float, images: int, batch_size: int, device: str) -> None:
        self.probability = torch.zeros((), device=device)
        self._target = target
        self._share = ADAPT_EVERY * batch_size / images
        self._sureness = torch.zeros((), device=device)
        self._steps = 0

    @in_step
    def __call__(self, images: Tensor, rng: Generator) -> Tensor:
        return augmented(images, self.probability, rng)

    @in_step
    def observe(self, scores: Tensor) -> None:
        """Take the scores [B] of a step's real images into account."""
        self._sureness += scores.detach().sign().mean() / ADAPT_EVERY
        self._steps += 1
        if self._steps % ADAPT_EVERY == 0:
            # in place: a captured step reads the same memory each time
            self.probability.copy_(adapted(self.probability, self._sureness, target=self._target, share=self._share))
            self._sureness.zero_()


def adapted(probability: Tensor, sureness: Tensor, *, target: float, share: float) -> Tensor:
    """The augmentation probability after one adjustment, in [0, 1].

    It grows by `share` where the discriminator is surer than the target and falls where it is not.

    Args:
        sureness: mean sign of the scores of real images, 0 at chance and 1 where every one is believed.
    """
    return (probability + share * (sureness - target).sign()).clamp(0, 1)


def augmented(images: Tensor, probability: Tensor, rng: Generator) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1], each changed in up to seven ways, each way with this probability.

    90-degree turns, shifts by up to an eighth (mirrored at the border), brightness, contrast, inverted luma, hue and
    saturation. Gradients pass. Source: Karras et al., NeurIPS 2020, appendix B: pixel blitting without mirroring, and
    colour. We differ: their general geometric changes (scaling, free rotation, fractional shifts) are left out.
    """
    count = len(images)

    def happens() -> Tensor:
        return torch.rand(count, generator=rng, device=images.device) < probability

    def normal(scale: float) -> Tensor:
        return scale * torch.randn(count, generator=rng, device=images.device)

    def uniform() -> Tensor:
        return torch.rand(count, generator=rng, device=images.device)

    turns = torch.where(happens(), (uniform() * 4).long(), 0)
    moves = happens()
    down, right = (torch.where(moves, (uniform() - 0.5) * (images.shape[2] / 4), 0).round().long() for _ in range(2))
    brightness = torch.where(happens(), normal(0.2), 0)
    contrast = torch.where(happens(), 2 ** normal(0.5), 1)
    inverts = happens() & (uniform() < 0.5)
    hue = torch.where(happens(), (uniform() * 2 - 1) * pi, 0)
    saturation = torch.where(happens(), 2 ** normal(1.0), 1)
    matrix = colour_matrix(contrast=contrast, inverts=inverts, hue=hue, saturation=saturation)
    moved = turned_and_shifted(images, turns=turns, down=down, right=right)
    # brightness comes before the others, so contrast scales it, too; being grey, it is untouched by hue and saturation
    return torch.einsum("bij,bjhw->bihw", matrix, moved + brightness[:, None, None, None])


def turned_and_shifted(images: Tensor, *, turns: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Square images [B, C, R, R], turned counter-clockwise by 90 degrees `turns` times, then shifted by whole pixels.

    What enters from outside is the image mirrored at its border pixels.

    Args:
        turns: [B] in 0..3.
        down, right: [B], between -R and R.
    """
    size = images.shape[2]
    places = torch.arange(size, device=images.device)
    row = _mirrored(places[None] - down[:, None], size)[:, :, None].expand(-1, size, size)
    column = _mirrored(places[None] - right[:, None], size)[:, None, :].expand(-1, size, size)
    last = size - 1
    index = torch.stack(
        [
            row * size + column,
            column * size + last - row,
            (last - row) * size + last - column,
            (last - column) * size + row,
        ]
    )[turns, torch.arange(len(images), device=images.device)]
    return images.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def _mirrored(places: Tensor, size: int) -> Tensor:
    inside = places.abs()
    return torch.where(inside >= size, 2 * (size - 1) - inside, inside)


def colour_matrix(*, contrast: Tensor, inverts: Tensor, hue: Tensor, saturation: Tensor) -> Tensor:
    """[B, 3, 3] for colours (r, g, b) in [-1, 1]; all arguments [B].

    Args:
        contrast, saturation: factors > 0.
        inverts: luma is negated, chroma stays.
        hue: turn around the grey axis, radians.
    """
    grey = contrast.new_full((3, 3), 1 / 3)  # projection on the grey axis
    chroma = torch.eye(3, device=contrast.device) - grey
    from midef.datasets.files.augment import constant

    side = 3**-0.5
    cross = constant((0, -side, side, side, 0, -side, -side, side, 0), contrast.device, contrast.dtype).view(3, 3)
    # v -> grey axis x v
    luma = torch.where(inverts, -1.0, 1.0)
    turned = hue.cos()[:, None, None] * chroma + hue.sin()[:, None, None] * cross
    return contrast[:, None, None] * (luma[:, None, None] * grey + saturation[:, None, None] * turned)
