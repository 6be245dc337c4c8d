"""Erased parts of images: uniform draws, the boxes they place, the pixels those cover, and inpainting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

_LOW_32_BITS = 0xFFFFFFFF
_INPAINT_RADIUS_PX = 3
_CELLS = 4096


def hashed_draws(indices: Tensor, patches: int) -> Tensor:
    """[B] -> [B, patches, 3] float32 in [0, 1): always the same for a position in the train split, else independent.

    A 32-bit integer hash (xor-shift and multiply, twice) of (position, patch, draw), for positions below 2^26.
    """
    each = 3 * patches
    x = indices[:, None] * each + torch.arange(1, each + 1, device=indices.device)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        # int64 has no unsigned product: it wraps around, which keeps the low 32 bits right.
        x = ((x ^ (x >> shift)) * factor) & _LOW_32_BITS
    x = x ^ (x >> 16)
    return ((x >> 8).float() / 2**24).view(-1, patches, 3)  # 24 bits: exact in float32, so never rounded up to 1


def valid_corner_boxes(
    draws: Tensor, shape: tuple[int, int], *, area: tuple[float, float], ratio: float = 1.0
) -> Tensor:
    """Boxes in images of (H, W): area uniform in a range of shares, then a corner uniform among those that fit.

    Args:
        draws: [..., 3] uniform in [0, 1): for the area, the row and the column.
        ratio: height to width, as in torchvision's `RandomErasing`.

    Returns:
        [..., 4] int64: top, left, height, width. Sides are rounded and kept strictly below the image's, as in
        torchvision.
    """
    low, high = area
    return _boxes(low + (high - low) * draws[..., 0], draws, shape, ratio)


def reject_joint_boxes(
    draws: Tensor, shape: tuple[int, int], *, area: tuple[float, float], ratio: float = 1.0
) -> Tensor:
    """As `valid_corner_boxes`, for: area uniform and corner uniform over the image, both drawn again until it fits.

    Small boxes fit more often, so the mean area is below the middle of the range. Given the area, an accepted corner is
    uniform among those that fit, and an area is accepted in proportion to their number. So the area comes from the
    inverse of that distribution, in 4096 steps: one draw each, where rejecting waits long for areas near 1.
    """
    below, areas = _joint_areas((shape[0], shape[1]), area, ratio, draws.device, draws.dtype)
    cell = torch.searchsorted(below, draws[..., 0].contiguous(), right=True).clamp(max=_CELLS - 1)
    return _boxes(areas[cell], draws, shape, ratio)


@lru_cache(maxsize=64)
def _joint_areas(
    shape: tuple[int, int], area: tuple[float, float], ratio: float, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """[4096] areas in a range of shares, and the share of accepted draws up to each; copied to the device once."""
    low, high = area
    # On the CPU, where a running sum is the same bit for bit every time.
    areas = low + (high - low) * (torch.arange(_CELLS, dtype=torch.float64) + 0.5) / _CELLS
    sides = _sides(areas, shape, ratio)
    fitting = (shape[0] - sides[:, 0] + 1) * (shape[1] - sides[:, 1] + 1)
    below = fitting.double().cumsum(0) / fitting.sum()
    return below.to(device, dtype), areas.to(device, dtype)


def _boxes(share: Tensor, draws: Tensor, shape: tuple[int, int], ratio: float) -> Tensor:
    sides = _sides(share, shape, ratio)
    room = torch.stack([shape[0] - sides[..., 0] + 1, shape[1] - sides[..., 1] + 1], dim=-1)
    return torch.cat([(draws[..., 1:] * room).long(), sides], dim=-1)


def _sides(share: Tensor, shape: tuple[int, int], ratio: float) -> Tensor:
    """[...] shares of the area -> [..., 2] int64: height and width."""
    pixels = share * shape[0] * shape[1]
    height = (pixels * ratio).sqrt().round().long().clamp(max=shape[0] - 1)
    width = (pixels / ratio).sqrt().round().long().clamp(max=shape[1] - 1)
    return torch.stack([height, width], dim=-1)


def covered(boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """[B, P, 4] boxes -> [B, 1, H, W] bool: the pixels in at least one box of an image."""
    rows = torch.arange(shape[0], device=boxes.device)
    columns = torch.arange(shape[1], device=boxes.device)
    top, left, height, width = boxes[..., None].unbind(dim=2)
    in_rows = (rows >= top) & (rows < top + height)
    in_columns = (columns >= left) & (columns < left + width)
    return (in_rows[:, :, :, None] & in_columns[:, :, None, :]).any(dim=1, keepdim=True)


def inpainted(images: Tensor, mask: Tensor) -> Tensor:  # waits: OpenCV works on the CPU
    """Images [B, 3, H, W] with the pixels of mask [B, 1, H, W] filled in from around them; others stay bit for bit.

    Telea's fast marching, radius 3 px, in OpenCV, which works on 8 bits, on the CPU, one image at a time: at 64 px some
    3 ms an image and core, at 224 px ten times that.
    """
    import cv2
    import numpy as np

    before = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    holes = mask[:, 0].byte().cpu().numpy()

    def fill(one: int) -> Any:
        return cv2.inpaint(np.ascontiguousarray(before[one]), holes[one], _INPAINT_RADIUS_PX, cv2.INPAINT_TELEA)

    with ThreadPoolExecutor() as pool:  # cv2 works outside the interpreter's lock
        after = np.stack(list(pool.map(fill, range(len(before)))))
    return torch.where(mask, torch.from_numpy(after).to(images.device).permute(0, 3, 1, 2) / 255, images)
