"""Square 8-bit RGB images from the bytes of an image file.

Pillow resizes 8-bit images with integers, so that the result is the same on every machine; torch's float and its
vectorised 8-bit kernels round differently from one processor to the next.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Box = tuple[int, int, int, int]
FORMATS = ("JPEG", "PNG", "PPM", "WEBP", "BMP")
"""Pillow's names of the formats that are read: a file called .jpg must not start an interpreter for another one."""
ORIENTATION = 0x0112  # Exif tag


def decode(data: bytes, resolution_px: int, crop: Box | None = None) -> NDArray[np.uint8]:
    """The image as [3, resolution_px, resolution_px] uint8: turned as its camera says, grey repeated, alpha dropped.

    Args:
        crop: left, top, right, bottom in pixels of the file, stretched to a square if it is none; without it the
            largest centred square is taken.

    Raises:
        ValueError: if the crop reaches outside the image, or its pixels are floats.
        OSError, SyntaxError, EOFError: what Pillow raises for a damaged file.
    """
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(BytesIO(data), formats=FORMATS) as opened:
        is_turned = opened.getexif().get(ORIENTATION, 1) != 1
        image = _rgb(ImageOps.exif_transpose(opened) if is_turned else opened)
    width, height = image.size
    if crop is None:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        crop = (left, top, left + side, top + side)
    elif crop[2] > width or crop[3] > height:
        raise ValueError(f"crop {crop} reaches outside an image of {width}x{height} pixels")
    if crop != (0, 0, width, height):
        image = image.crop(crop)
    return np.ascontiguousarray(resize(image, resolution_px).transpose(2, 0, 1))


def resize(image: Image, resolution_px: int) -> NDArray[np.uint8]:
    """The image, stretched to a square with antialiased bilinear weights, as an array."""
    import numpy as np
    from PIL.Image import Resampling

    if image.size != (resolution_px, resolution_px):
        image = image.resize((resolution_px, resolution_px), Resampling.BILINEAR)
    return np.asarray(image)


def _rgb(image: Image) -> Image:
    import numpy as np
    from PIL.Image import fromarray

    if image.mode == "F":
        raise ValueError("pixels are floats of unknown range; save the image with 8 bits per channel")
    if image.mode.startswith("I"):  # Pillow clips 16-bit grey at 255 when it converts, so white noise would be white
        grey: NDArray[Any] = np.asarray(image).astype(np.int64)
        image = fromarray(((grey + 128) // 257).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
