"""Views: differentiable random changes of an image that is shown to the target, drawn for each row on its own."""

from __future__ import annotations

from math import log, radians

import torch
from torch import Tensor

from midef.attacks.latent_search.streams import RowStreams
from midef.datasets.files.augment import constant, cropped, jittered, mirrored, moved, rotated
from midef.defenses.families.erasing import covered, valid_corner_boxes
from midef.defenses.midre import IMAGENET_MEAN

Colour = tuple[float, float, float]


def erased(images: Tensor, noise: RowStreams, *, area: tuple[float, float], fill: Colour = IMAGENET_MEAN) -> Tensor:
    """Images [N, 3, H, W] with one square each set to MIDRE's fill; it passes no gradient.

    Args:
        area: range of the erased share; place and share are drawn as MIDRE draws them, for each image on its own.
        fill: RGB in [0, 1]; here ImageNet's mean colour.

    Source: MIDRE, TMLR 2025, the adaptive attack of its appendix. We differ: torchvision's transform erases the same
    place in all images of a batch; here an image does not depend on its batch.
    """
    shape = (images.shape[2], images.shape[3])
    draws = noise.uniform(len(images) // len(noise), 3).view(-1, 1, 3)  # several images of a row stand together
    mask = covered(valid_corner_boxes(draws, shape, area=area), shape)
    return torch.where(mask, constant(fill, images.device, images.dtype)[:, None, None], images)


CROP_DRAWS = 4
"""Numbers `randomly_cropped` needs for each image."""


def randomly_cropped(
    images: Tensor, draws: Tensor, *, scale: tuple[float, float], ratio: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """A random rectangle of each image [N, 3, H, W], resized to the whole (bilinear); gradients reach the images.

    Args:
        draws: [N, CROP_DRAWS] from [0, 1): area, ratio, left, top; image i depends on row i alone.
        scale: range of the rectangle's share of the area, uniform.
        ratio: range of width to height, uniform in the logarithm.

    Source: torchvision's RandomResizedCrop, as PPA uses it. We differ: crops lie between pixels too, and sides longer
    than the image are cut to fit where torchvision draws again.
    """
    area, shape, left, top = draws.T
    share = scale[0] + (scale[1] - scale[0]) * area
    wide_to_high = (log(ratio[0]) + (log(ratio[1]) - log(ratio[0])) * shape).exp()
    return cropped(images.float(), share, left, top, ratio=wide_to_high)


VIEW_DRAWS = 8
"""Numbers `slightly_changed` needs for each image."""


def slightly_changed(images: Tensor, draws: Tensor, *, jitter_p: float) -> Tensor:
    """The view of PLG-MI and LOKT: each image [N, 3, H, W] cropped, jittered, mirrored and turned a little.

    The crop keeps 80 to 100 % of the area, square for a square image; with probability jitter_p brightness and contrast
    are multiplied by 0.8 to 1.2, which also clips to [0, 1]; half the images are mirrored; the turn is up to 5 degrees
    either way. Gradients reach the images.

    Args:
        draws: [N, VIEW_DRAWS] from [0, 1); image i depends on row i alone.
        jitter_p: share of images whose brightness and contrast change.

    Source: Yuan et al., AAAI 2023 (PLG-MI), released code: RandomResizedCrop, ColorJitter, RandomHorizontalFlip and
    RandomRotation of kornia. We differ: crops lie between pixels too, brightness always comes before contrast, and
    contrast turns about the mean grey, as in torchvision; kornia's formulas changed between its versions.
    """
    share, left, top, brightness, contrast, jitter, mirror, turn = draws.T
    images = cropped(images.float(), 0.8 + 0.2 * share, left, top)
    factors = 0.8 + 0.4 * torch.stack([brightness, contrast])[:, :, None, None, None]
    images = torch.where((jitter < jitter_p)[:, None, None, None], jittered(images, factors[0], factors[1]), images)
    return rotated(mirrored(images, mirror < 0.5), (2 * turn - 1) * radians(5))


def moved_and_mirrored(images: Tensor, noise: RowStreams, *, share: float, mirror: bool) -> Tensor:
    """Images [N, 3, H, W] moved by up to this share of their size in both directions, half of them mirrored first.

    By whole pixels: between pixels interpolation would smooth the image.

    Args:
        noise: of the rows, an image each.
        mirror: False mirrors none.
    """
    height, width = images.shape[2:]
    right, down, side = noise.uniform(3).T
    if mirror:
        images = mirrored(images, side < 0.5)
    if not share:
        return images
    columns, rows = ((share * px * (2 * drawn - 1)).round() for px, drawn in ((width, right), (height, down)))
    return moved(images.float(), columns / width, rows / height)
