"""Image files: opened only where each of their channels has 8 bits, which is what networks take.

Pillow reads 16 bits per channel of colour as 8 without a word, by cutting, scaling or wrapping around, so the depth is
looked up in the file itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from gxnor.errors import GxnorError

if TYPE_CHECKING:
    from PIL import Image, ImageFile
    from PIL.TiffImagePlugin import TiffImageFile

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # those whose depth `_bits` knows
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
GRAY = ("1", "L", "LA")  # Pillow's modes of 8 bits per channel
MODES = (*GRAY, "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
LITTER = ("Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r", "__MACOSX", "@eaDir")  # left by systems in folders
_TIFF_BITS = 258  # the tag BitsPerSample


class NoImage(GxnorError):
    """The file is of none of the formats."""


def is_litter(path: Path) -> bool:
    """Whether a file or folder was left by the system rather than put there by a user: hidden, or known by its name."""
    return path.name.startswith(".") or path.name in LITTER


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The image in a file, not decoded yet. Raises NoImage for a file of another format, GxnorError for pixels of more than
    8 bits per channel and for a broken file, OSError where the file cannot be read."""
    from PIL import Image, UnidentifiedImageError  # here, for arrays are classified without Pillow

    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode not in MODES or _bits(image) > 8:
                depth = f"{_bits(image)} bits" if image.mode in MODES else f"pixels of kind {image.mode}"
                raise GxnorError(f"expected 8 bits per channel, got {depth}: convert it first")
            yield image
    except UnidentifiedImageError:
        raise NoImage(f"expected an image file ({', '.join(FORMATS)}), got none that can be read as one") from None
    except (GxnorError, OSError):
        raise
    except Exception as error:  # on damaged files Pillow's decoders raise whatever they stumble over
        raise GxnorError(f"the image is broken ({type(error).__name__}: {error}): get the original") from None


def decode(image: Image.Image, mode: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 (C, H, W) in the mode "L" or "RGB", resized to (height, width) where one is given (bilinear, antialiased).
    Raises GxnorError for transparent pixels, whose colour is not known."""
    if image.has_transparency_data and np.asarray(image.convert("RGBA").getchannel("A")).min() < 255:
        raise GxnorError("expected an opaque image, got transparent pixels: put it on a background first")
    image = image.convert(mode)
    if size is not None and (image.height, image.width) != size:
        from PIL import Image

        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(image.height, image.width, len(mode)).transpose(2, 0, 1)  # "L" has one channel


def _bits(image: ImageFile.ImageFile) -> int:
    """Bits per channel in the file, which Pillow's mode does not always tell: 8 or, rounded up, 16."""
    if image.format == "TIFF":
        return 8 if max(cast("TiffImageFile", image).tag_v2.get(_TIFF_BITS, (1,))) <= 8 else 16
    settings = [tile[3] for tile in image.tile]
    if image.format == "PNG":
        return 16 if any(isinstance(raw, str) and ";16" in raw for raw in settings) else 8
    if image.format == "PPM":  # (mode, the largest value) where that is not 255
        return 16 if any(isinstance(at, tuple) and at[1] > 255 for at in settings) else 8
    return 8
