"""Images that a guard is asked about, and those that its defender has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor

from midef.core.errors import DataError, ShapeError

SLACK = 1e-5
"""Beyond 0 and 1, for images that were resized or decoded in floating point."""
DIVIDE = "divide by 255 (`images.float() / 255`)"

ImageSource: TypeAlias = "Tensor | Iterable[Any]"
"""A tensor of images, or a Dataset, DataLoader or list whose items are images, or tuples that begin with one."""


def checked_images(images: Tensor, resolution_px: int | None) -> Tensor:
    """Images [B, 3, H, W] of a query, which may be a single one [3, H, W].

    Args:
        resolution_px: that they must have; None where any will do.

    Raises:
        ShapeError: if they have another shape.
        DataError: if they are no floating-point numbers in [0, 1].
    """
    if not isinstance(images, Tensor):
        raise ShapeError(f"expected a tensor [B, 3, H, W] or [3, H, W], got {type(images).__name__}; convert it first")
    batch = images[None] if images.ndim == 3 else images
    if batch.ndim != 4 or batch.shape[1] != 3 or not batch.numel():
        raise ShapeError(
            f"expected images [B, 3, H, W] with B >= 1, or one [3, H, W], got {list(images.shape)}; repeat a grey "
            "image three times, and let the module take what it needs of it"
        )
    if resolution_px is not None and batch.shape[2:] != (resolution_px, resolution_px):
        raise ShapeError(
            f"this guard was prepared on images of {resolution_px} x {resolution_px}, got {batch.shape[2]} x "
            f"{batch.shape[3]}; resize them, or prepare another guard on images of that size"
        )
    if not batch.is_floating_point():
        raise DataError(f"expected floating-point images in [0, 1], got {batch.dtype}; {DIVIDE}")
    _check_range(batch)
    return batch


def _check_range(images: Tensor) -> None:
    low, high = (float(end) for end in torch.aminmax(images.detach()))
    if not (low >= -SLACK and high <= 1 + SLACK):  # so that NaN is refused too
        advice = DIVIDE if low >= 0 and high > 2 else "leave the normalisation to the module"
        raise DataError(f"expected images in [0, 1], got values from {low:.3g} to {high:.3g}; {advice}")


def defenders_images(source: ImageSource, name: str) -> Tensor:
    """All images of a source as [N, 3, R, R] uint8.

    Args:
        name: of the argument, for messages.

    Raises:
        ShapeError: if they are no squares of one size with three channels.
        DataError: if one is no image, or not in its range.
    """
    parts = [_as_bytes(part, name) for part in ([source] if isinstance(source, Tensor) else _items(source))]
    if not parts:
        raise DataError(f"{name}: expected images, got none")
    if len(sizes := {tuple(part.shape[1:]) for part in parts}) > 1:
        raise ShapeError(f"{name}: expected images of one size, got {len(sizes)} sizes; resize them in the data set")
    return torch.cat(parts)


def _items(source: Iterable[Any]) -> Iterator[Any]:
    sized: Any = source
    has_positions = hasattr(sized, "__len__") and hasattr(sized, "__getitem__")  # a Dataset need not end by itself
    for item in (sized[i] for i in range(len(sized))) if has_positions else source:
        yield item[0] if isinstance(item, tuple | list) else item


def _as_bytes(image: Any, name: str) -> Tensor:
    """Images [n, 3, R, R] uint8 of one item."""
    if not isinstance(image, Tensor):
        from PIL.Image import Image

        if not isinstance(image, Image):
            raise DataError(
                f"{name}: expected images, or tuples that begin with one, got {type(image).__name__}; make the data "
                "set give tensors [3, R, R]"
            )
        from torchvision.transforms.functional import pil_to_tensor

        image = pil_to_tensor(image.convert("RGB"))
    batch: Tensor = image[None] if image.ndim == 3 else image
    if batch.ndim != 4 or batch.shape[1] != 3 or batch.shape[2] != batch.shape[3] or not batch.numel():
        raise ShapeError(
            f"{name}: expected square images of three channels, [N, 3, R, R] or [3, R, R] each, got "
            f"{list(image.shape)}; crop them, and repeat grey ones three times"
        )
    if batch.dtype == torch.uint8:
        return batch.detach().cpu()
    if not batch.is_floating_point():
        raise DataError(f"{name}: expected uint8, or floating point in [0, 1], got {batch.dtype}; convert them")
    _check_range(batch)
    return (batch.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def digest_of_images(images: Tensor) -> str:
    """sha256 of images [N, 3, R, R] uint8 and their shape."""
    digest = hashlib.sha256(str(list(images.shape)).encode())
    digest.update(images.contiguous().numpy().tobytes())
    return digest.hexdigest()
