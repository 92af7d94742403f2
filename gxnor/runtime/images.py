"""What a network is given to look at: arrays, image files and folders, checked and turned into the uint8 batch that
programs take."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gxnor.errors import GxnorError
from gxnor.program import Input

MODES = {1: "L", 3: "RGB"}  # Pillow's names of what an input of so many channels takes
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def from_array(x: np.ndarray, to: Input) -> tuple[np.ndarray, bool]:
    """(uint8 (batch, *shape), whether x was a single sample). uint8 stays as it is; floats in [0, 1] become
    p = round(255 x). Raises GxnorError for any other type, shape or range."""
    if not isinstance(x, np.ndarray):
        raise GxnorError(f"expected a NumPy array, a path or a folder, got {type(x).__name__}")
    single = x.shape == to.shape
    batch = x[None] if single else x
    if batch.shape[1:] != to.shape or not batch.ndim:
        shape = ", ".join(map(str, to.shape))
        raise GxnorError(f"expected an array of shape ({shape}) or (batch, {shape}), channels first, got {x.shape}")
    if batch.dtype.kind == "f" and to.space is None:
        if not ((batch >= 0) & (batch <= 1)).all():
            raise GxnorError("expected floats in [0, 1], got values outside; divide pixels 0..255 by 255 or pass uint8")
        batch = np.rint(255 * batch.astype(np.float64)).astype(np.uint8)
    if batch.dtype != np.uint8:
        expected = "uint8 pixels or floats in [0, 1]" if to.space is None else "state indices as uint8"
        raise GxnorError(f"expected {expected}, got {x.dtype}")
    if to.space is not None and batch.size and batch.max() >= to.space.size:
        raise GxnorError(f"expected state indices below {to.space.size}, got {batch.max()}")
    return batch, single


def from_path(path: str | os.PathLike, to: Input) -> tuple[np.ndarray, list[str]]:
    """(uint8 (batch, *shape), a name for every sample) of an image, a .npy array, or a folder of images.

    Raises GxnorError, naming the file, for what is none of them or does not fit."""
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        if not files:
            raise GxnorError(f"{path}: expected images, the folder holds no file")
        read = [from_path(file, to) for file in files]
        return np.concatenate([batch for batch, _ in read]), [name for _, names in read for name in names]
    try:
        if path.suffix == ".npy":
            batch, single = from_array(np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)), to)
            return batch, [str(path)] if single else [f"{path}[{i}]" for i in range(len(batch))]
        return _image(path, to)[None], [str(path)]
    except OSError as error:
        raise GxnorError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, GxnorError) as error:
        raise GxnorError(f"{path}: {error}") from None


def _image(path: Path, to: Input) -> np.ndarray:
    """uint8 (C, H, W): gray or colour as the network wants it, of its exact size."""
    from PIL import Image, UnidentifiedImageError

    if len(to.shape) != 3 or to.shape[0] not in MODES or to.space is not None:
        raise GxnorError(f"the network takes no images but {to.shape}: pass a .npy array")
    channels, height, width = to.shape
    try:
        with Image.open(path) as image:
            if image.size != (width, height):  # before anything is decoded
                got = "x".join(map(str, image.size))
                raise GxnorError(f"expected an image of {width}x{height} pixels, got {got}: resize it first")
            if image.mode not in EIGHT_BIT:
                raise GxnorError(f"expected 8 bits a channel, got an image of mode {image.mode}: convert it first")
            if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
                raise GxnorError("expected an opaque image, got transparent pixels: put it on a background first")
            pixels = np.asarray(image.convert(MODES[channels]))
    except UnidentifiedImageError:
        raise GxnorError("expected an image file, got none that Pillow can read") from None
    except (SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises for broken and for giant files
        raise GxnorError(f"the image is broken: {error}") from None
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)
