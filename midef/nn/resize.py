"""Images as tensors at another resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resized(images: Tensor, px: int) -> Tensor:
    """Images [B, 3, H, H] at px by antialiased bilinear weights; as they are where they have so many.

    In float32 at least, whatever they come in.
    """
    if images.shape[-1] == px:
        return images
    exact = images if images.dtype == torch.float64 else images.float()
    return F.interpolate(exact, size=(px, px), mode="bilinear", align_corners=False, antialias=True)
