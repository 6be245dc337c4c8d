"""Square 8-bit RGB images from the bytes of an image file.

Pillow resizes 8-bit images with integers, so that the result is the same on every machine; torch's float and its
vectorised 8-bit kernels round differently from one processor to the next.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from midef.datasets.files.limits import check_pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Box = tuple[int, int, int, int]
FORMATS = ("JPEG", "PNG", "PPM", "WEBP", "BMP")
"""Pillow's names of the formats that are read: a file called .jpg must not start an interpreter for another one."""
ORIENTATION = 0x0112  # Exif tag


@dataclass(frozen=True)
class Stretched:
    """The whole image, both sides resized to those of a square; then the centred part of it, resized again.

    Args:
        part_64: side of the part in 64ths of the square's, rounded down to pixels; 1 to 64, 64 for all of it.
    """

    part_64: int = 64


Crop = Box | Stretched | None
"""What is seen of an image: left, top, right, bottom in pixels of the file, stretched to a square if it is none; the
whole image; None for the largest centred square."""


def decode(data: bytes, resolution_px: int, crop: Crop = None) -> NDArray[np.uint8]:
    """The image as [3, resolution_px, resolution_px] uint8: turned as its camera says, grey repeated, alpha dropped.

    Raises:
        ValueError: if the crop reaches outside the image, or its pixels are floats.
        OSError, SyntaxError, EOFError: what Pillow raises for a damaged file.
    """
    return square(open_rgb(data), resolution_px, crop)


def open_rgb(data: bytes) -> Image:
    """The whole image as 8-bit RGB: turned as its camera says, grey repeated, alpha dropped.

    Raises:
        ValueError: if its pixels are floats, or too many.
        OSError, SyntaxError, EOFError: what Pillow raises for a damaged file.
    """
    from PIL import Image, ImageOps

    with Image.open(BytesIO(data), formats=FORMATS) as opened:
        check_pixels(*opened.size)
        is_turned = opened.getexif().get(ORIENTATION, 1) != 1
        return _rgb(ImageOps.exif_transpose(opened) if is_turned else opened)


def square(image: Image, resolution_px: int, crop: Crop = None) -> NDArray[np.uint8]:
    """An RGB image, cut as in `decode` and resized, as [3, resolution_px, resolution_px] uint8.

    Raises:
        ValueError: if the crop reaches outside the image.
    """
    import numpy as np

    if isinstance(crop, Stretched):
        image = resized(image, resolution_px)
        crop = centre_box(crop.part_64 * resolution_px // 64, image.size)
    width, height = image.size
    if crop is None:
        crop = centre_box(min(width, height), image.size)
    elif crop[2] > width or crop[3] > height:
        raise ValueError(f"crop {crop} reaches outside an image of {width}x{height} pixels")
    if crop != (0, 0, width, height):
        image = image.crop(crop)
    return np.ascontiguousarray(resize(image, resolution_px).transpose(2, 0, 1))


def centre_box(side_px: int, size: tuple[int, int]) -> Box:
    """The centred square of an image of this width and height.

    >>> centre_box(54, (64, 64)), centre_box(128, (178, 218))
    ((5, 5, 59, 59), (25, 45, 153, 173))
    """
    left, top = (size[0] - side_px) // 2, (size[1] - side_px) // 2
    return (left, top, left + side_px, top + side_px)


def pixel_id(image: Image) -> str:
    """32 hexadecimal digits that are equal for RGB images of equal size and equal pixels, whatever their files."""
    return id_of_pixels(*image.size, image.tobytes())


def id_of_pixels(width: int, height: int, rgb: bytes) -> str:
    """The same of pixels in rows, three bytes each."""
    return hashlib.sha256(f"{width}x{height}:".encode() + rgb).hexdigest()[:32]


def outline(image: Image) -> str:
    """128 bits, as 32 hexadecimal digits, that change little when an image is compressed, resized or brightened.

    The image is averaged to 9x9 grey values; a bit says whether a value is larger than its left neighbour (64 bits),
    and than the one above (64 bits): the difference hash of rows and of columns.
    """
    import numpy as np
    from PIL.Image import Resampling

    grey = np.asarray(image.convert("L").resize((9, 9), Resampling.BOX), dtype=np.int16)
    bits = np.stack([grey[:8, 1:] > grey[:8, :-1], grey[1:, :8] > grey[:-1, :8]])
    return np.packbits(bits).tobytes().hex()


def unreadable_errors() -> tuple[type[Exception], ...]:
    """What reading or decoding an image file can raise, the file being at fault."""
    from PIL.Image import DecompressionBombError

    from_pillow = (OSError, ValueError, SyntaxError, EOFError, struct.error, DecompressionBombError)
    from_zipfile = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)  # encrypted; unknown compression
    return (*from_pillow, *from_zipfile)


def reason_of(error: Exception) -> str:
    """Why an image cannot be read, in the words of the system, of Pillow or of zipfile."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return re.sub(r" <_io\.BytesIO[^>]*>", "", str(error)) or type(error).__name__


def resized(image: Image, resolution_px: int) -> Image:
    """The image, stretched to a square with antialiased bilinear weights."""
    from PIL.Image import Resampling

    if image.size == (resolution_px, resolution_px):
        return image
    return image.resize((resolution_px, resolution_px), Resampling.BILINEAR)


def resize(image: Image, resolution_px: int) -> NDArray[np.uint8]:
    """The same as an array."""
    import numpy as np

    return np.asarray(resized(image, resolution_px))


def _rgb(image: Image) -> Image:
    import numpy as np
    from PIL.Image import fromarray

    if image.mode == "F":
        raise ValueError("pixels are floats of unknown range; save the image with 8 bits per channel")
    if image.mode.startswith("I"):  # Pillow clips 16-bit grey at 255 when it converts, so white noise would be white
        grey: NDArray[Any] = np.asarray(image).astype(np.int64)
        image = fromarray(((grey + 128) // 257).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
