"""What an attacker shows the target in place of an image: differentiable changes, drawn for each row on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from midef.attacks._streams import RowStreams
from midef.defenses._erasing import covered, valid_corner_boxes
from midef.defenses.midre import IMAGENET_MEAN


def erased(images: Tensor, noise: RowStreams, *, area: tuple[float, float]) -> Tensor:
    """Images [N, 3, H, W] with one square each set to MIDRE's fill, ImageNet's mean colour; it passes no gradient.

    area: range of the erased share; place and share are drawn as MIDRE draws them, for each image on its own.
    Source: MIDRE, TMLR 2025, the adaptive attack of its appendix. We differ: torchvision's transform erases the same
    place in all images of a batch; here an image does not depend on its batch.
    """
    shape = (images.shape[2], images.shape[3])
    mask = covered(valid_corner_boxes(noise.uniform(1, 3), shape, area=area), shape)
    return torch.where(mask, images.new_tensor(IMAGENET_MEAN)[:, None, None], images)
