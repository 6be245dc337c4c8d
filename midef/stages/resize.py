"""Images at the resolution of a network that evaluates them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def low_to_high(images: Tensor, resolution_px: int, *, resize: str = "pil_uint8") -> Tensor:
    """Images [N, 3, H, W] uint8 at the evaluator's resolution.

    Args:
        resize: `pil_uint8`, Pillow's bilinear resize of 8-bit images; `float`, torch's bilinear interpolation with
            antialiasing off, as PLG-MI's code does it, rounded back to 8 bits.
    """
    from PIL import Image

    if images.shape[-1] == resolution_px:
        return images
    if resize == "float":
        size = (resolution_px, resolution_px)
        larger = F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False)
        return larger.round().clamp(0, 255).to(torch.uint8)
    resized = [
        np.asarray(
            Image.fromarray(image).resize((resolution_px, resolution_px), Image.Resampling.BILINEAR), dtype=np.uint8
        )
        for image in images.permute(0, 2, 3, 1).contiguous().numpy()
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()
