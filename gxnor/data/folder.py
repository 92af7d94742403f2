"""A folder of images: DIR/train/<class>/<image> and DIR/test/<class>/<image>."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gxnor.data.dataset import Dataset, check_classes
from gxnor.errors import GxnorError, WorkError
from gxnor.image_files import GRAY, NoImage, decode, is_litter, opened


def load(
    data_dir: str | os.PathLike | None = None,
    *,
    path: str | os.PathLike | None = None,
    size: tuple[int, int] | None = None,
) -> Dataset:
    """The images below a folder, DIR, by class and then by file name.

    The classes are the folders in DIR/train, sorted by name. If every image is grayscale the data set is [n, 1, H, W];
    otherwise all become RGB, [n, 3, H, W]. What systems leave in folders (hidden files, Thumbs.db) is skipped.

    Args:
        data_dir: DIR, where given.
        path: DIR otherwise.
        size: (H, W) in pixels, to which images are resized (bilinear, antialiased); without it all must have one size.

    Raises GxnorError: no such folder, a class without training images, a test class without a training class, a file that is
    not a readable image of 8 bits per channel, transparent pixels, images of different sizes and no `size`.
    """
    given = data_dir or path
    if not given:
        raise GxnorError(
            "the data set folder needs a folder with train/CLASS/ and test/CLASS/: data.path of a recipe, or --data-dir DIR"
        )
    if size is not None and not (
        isinstance(size, (tuple, list)) and len(size) == 2 and all(type(edge) is int and edge > 0 for edge in size)
    ):
        raise GxnorError(f"data.size must be two positive integers, [HEIGHT, WIDTH], got {size!r}")
    root = Path(given).expanduser()
    classes = tuple(folder.name for folder in _listing(root / "train", folders=True))
    if len(classes) < 2:
        raise WorkError(f"{root / 'train'} holds {len(classes)} class folders, expected two or more")
    check_classes(classes)
    train, train_labels = _by_class(root / "train", classes)
    test, test_labels = _by_class(root / "test", classes)
    for label, name in enumerate(classes):
        if label not in train_labels:
            raise WorkError(f"{root / 'train' / name} holds no image: add some or take the folder away")
    if not test:
        raise WorkError(f"{root / 'test'} holds no image: expected some in test/CLASS/")

    headers = [_open(file, lambda image: (image.mode, image.height, image.width)) for file in train + test]
    mode = "L" if all(mode in GRAY for mode, _, _ in headers) else "RGB"
    height, width = size or headers[0][1:]
    for file, (_, h, w) in zip(train + test, headers, strict=True):
        if size is None and (h, w) != (height, width):
            raise WorkError(
                f"{file} is {h}x{w} where {train[0]} is {height}x{width} (height x width): "
                "give data.size = [HEIGHT, WIDTH] (--set data.size=[H,W]) to resize all images"
            )
    train_images, test_images = (_read(files, mode, height, width) for files in (train, test))
    return Dataset("folder", train_images, train_labels, test_images, test_labels, classes)


def labelled(part: Path, classes: tuple[str, ...], mode: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [n, C, H, W], int64 [n]) of the images in part/CLASS/, in the mode "L" or "RGB", resized to (H, W).

    Raises WorkError: a folder is not one of `classes`, there is no image, or a file is not an image that `load` takes."""
    files, labels = _by_class(part, classes)
    if not files:
        raise WorkError(f"{part} holds no image: expected some in {part}/CLASS/")
    return _read(files, mode, *size), labels


def _listing(folder: Path, folders: bool) -> list[Path]:
    """What a folder holds, sorted by name, hidden files left out: only folders or only files, or GxnorError."""
    kind, article = ("folder", "a") if folders else ("image", "an")
    try:
        entries = sorted(entry for entry in folder.iterdir() if not is_litter(entry))
    except OSError as error:
        raise WorkError(f"cannot read {folder}: {error.strerror}; expected train/CLASS/ and test/CLASS/") from error
    for entry in entries:
        if entry.is_dir() != folders:
            raise WorkError(f"{entry} is not {article} {kind}: {folder} may hold {kind}s only; move it away")
    return entries


def _by_class(part: Path, classes: tuple[str, ...]) -> tuple[list[Path], np.ndarray]:
    files, labels = [], []
    for folder in _listing(part, folders=True):
        if folder.name not in classes:
            raise WorkError(
                f"{folder} is not a class of the training images ({', '.join(classes)}): rename or remove it"
            )
        found = _listing(folder, folders=False)
        files += found
        labels += [classes.index(folder.name)] * len(found)
    return files, np.array(labels, np.int64)


def _read(files: list[Path], mode: str, height: int, width: int) -> np.ndarray:
    """uint8 [n, C, H, W]."""
    images = np.empty((len(files), len(mode), height, width), np.uint8)  # "L" has one channel, "RGB" three
    for image, file in zip(images, files, strict=True):
        image[:] = _open(file, lambda source: decode(source, mode, (height, width)))
    return images


def _open(file: Path, use):
    """use(image), or WorkError naming the file."""
    try:
        with opened(file) as image:
            return use(image)
    except NoImage as error:
        raise WorkError(f"{file}: {error}: repair it or move it away") from None
    except GxnorError as error:
        raise WorkError(f"{file}: {error}") from None
    except OSError as error:
        raise WorkError(f"{file} cannot be read ({error.strerror or error}): repair it or move it away") from None
