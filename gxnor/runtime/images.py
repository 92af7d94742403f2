"""What a network is given to look at: arrays, image files and folders, checked and turned into the uint8 batch that
programs take."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from gxnor import pixels
from gxnor.errors import GxnorError
from gxnor.program import Input

MODES = {1: "L", 3: "RGB"}  # Pillow's names of what an input of so many channels takes


def from_array(x: np.ndarray, to: Input) -> tuple[np.ndarray, bool]:
    """(uint8 (batch, *shape), whether x was a single sample). uint8 stays as it is; floats in [0, 1] become
    p = round(255 x), or what the input makes of real numbers. Raises GxnorError for any other type, shape or range."""
    if not isinstance(x, np.ndarray):
        raise GxnorError(f"expected a NumPy array, got {type(x).__name__}")
    single = x.shape == to.shape
    batch = x[None] if single else x
    if batch.shape[1:] != to.shape or not batch.ndim:
        shape = ", ".join(map(str, to.shape))
        raise GxnorError(f"expected an array of shape ({shape}) or (batch, {shape}), channels first, got {x.shape}")
    if batch.dtype.kind == "f" and to.space is None:
        if not pixels.are_shares(batch):
            raise GxnorError(pixels.refusal(batch))
        batch = pixels.nearest(pixels.widen(batch)).astype(np.uint8)
    elif batch.dtype.kind == "f" and to.low is not None:
        batch = to.indices(batch)
    if batch.dtype != np.uint8:
        expected = (
            pixels.EXPECTED if to.space is None else "real numbers" if to.low is not None else "state indices as uint8"
        )
        raise GxnorError(f"expected {expected}, got {x.dtype}")
    if to.space is not None and batch.size and batch.max() >= to.space.size:
        raise GxnorError(f"expected state indices below {to.space.size}, got {batch.max()}")
    return batch, single


def from_path(path: str | os.PathLike, to: Input) -> tuple[np.ndarray, list[str]]:
    """(uint8 (batch, *shape), a name for every sample) of an image, a .npy array, or a folder of them. What systems leave
    in folders is passed over, and so, with a RuntimeWarning, is a file that is neither an image nor named like one.

    Raises GxnorError, naming the file, for what is none of them or does not fit."""
    path = Path(path)
    if path.is_dir():
        return _from_folder(path, to)
    try:
        if path.suffix.lower() in (".npy", ".npz"):
            batch, single = from_array(read_array(path), to)
            return batch, [str(path)] if single else [f"{path}[{i}]" for i in range(len(batch))]
        return _image(path, to)[None], [str(path)]
    except OSError as error:
        raise GxnorError(f"{path}: cannot be read: {error.strerror or error}") from None
    except GxnorError as error:
        raise type(error)(f"{path}: {error}") from None


def read_array(path: Path) -> np.ndarray:
    """The array in a .npy file, of numbers. Raises GxnorError for any other file, OSError where it cannot be read."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start[:2] == b"PK":
        raise GxnorError("expected a .npy file, got an archive of several arrays (.npz): save the one with numpy.save")
    if start != b"\x93NUMPY":
        raise GxnorError("expected a .npy file, as numpy.save writes it, got a file of another kind")
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError) as error:
        reason = "it holds Python objects" if "object" in str(error).lower() else "it is damaged or cut off"
        raise GxnorError(f"expected a .npy file of numbers: {reason}") from None


def _from_folder(path: Path, to: Input) -> tuple[np.ndarray, list[str]]:
    from gxnor import image_files

    read = []
    for file in sorted(path.iterdir()):
        if image_files.is_litter(file) or not file.is_file():
            continue
        try:
            read.append(from_path(file, to))
        except image_files.NoImage as error:
            if file.suffix.lower() in image_files.SUFFIXES:
                raise
            warnings.warn(f"passed over: {error}", RuntimeWarning, stacklevel=2)
    if not read:
        raise GxnorError(f"{path}: expected images, the folder holds none")
    return np.concatenate([batch for batch, _ in read]), [name for _, names in read for name in names]


def _image(path: Path, to: Input) -> np.ndarray:
    """uint8 (C, H, W): gray or colour as the network wants it, of its exact size."""
    from gxnor import image_files  # Pillow is not needed for arrays

    with image_files.opened(path) as image:
        if len(to.shape) != 3 or to.shape[0] not in MODES or to.space is not None:
            raise GxnorError(f"the network takes no images but {to.shape}: pass a .npy array")
        channels, height, width = to.shape
        if image.size != (width, height):  # before anything is decoded
            got = "x".join(map(str, image.size))
            raise GxnorError(f"expected an image of {width}x{height} pixels, got {got}: resize it first")
        return image_files.decode(image, MODES[channels])
