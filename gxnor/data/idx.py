"""MNIST and the IDX format it comes in.

An IDX file: two zero bytes, a type (8: uint8), the number of dimensions, every dimension as a big-endian 32-bit
integer, then the numbers in C order.
Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from gxnor.data.dataset import DIGITS, Dataset, check_labels
from gxnor.data.files import File, locate, read_bytes
from gxnor.errors import WorkError

_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FILES = [
    File((f"{name}.gz", name), f"{_ADDRESS}{name}.gz", md5)
    for name, md5 in (
        ("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c"),
    )
]


def load(data_dir: str | os.PathLike | None = None) -> Dataset:
    """MNIST: 60,000 and 10,000 images [1, 28, 28] of handwritten digits (other sets in its format load as well).

    Raises WorkError: a file is missing, unreadable, damaged, or not what its name says.
    """
    train_images, train_labels, test_images, test_labels = locate("mnist", FILES, data_dir)
    return Dataset(
        "mnist", *_read_pair(train_images, train_labels), *_read_pair(test_images, test_labels), classes=DIGITS
    )


def read(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of an IDX file, packed with gzip or not.

    Raises WorkError: the file is unreadable, no IDX file of uint8 with that many dimensions, or longer or shorter than
    its header says.
    """
    data = read_bytes(path)
    if data[:2] == b"\x1f\x8b":  # by content: browsers unpack a .gz and keep its name
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise WorkError(f"{path} is damaged or cut off ({error}): get the original again") from error
    magic = bytes((0, 0, 8, dimensions))
    if data[:4] != magic:
        raise WorkError(
            f"{path} is no IDX file of {'labels' if dimensions == 1 else 'images'}: it begins with the bytes "
            f"{data[:4].hex(' ') or '(none)'} instead of {magic.hex(' ')}; get the original"
        )
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, header, 4)]
    if len(data) != header + math.prod(shape):
        raise WorkError(
            f"{path} has {len(data):,} bytes unpacked where its header asks for {header + math.prod(shape):,}: "
            "it is cut off or damaged; get the original again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()  # a copy, as bytes are read-only


def _read_pair(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read(images_path, 3), read(labels_path, 1)
    if len(images) == 0 or images.shape[1:] != (28, 28):
        raise WorkError(
            f"{images_path} holds {len(images)} images of {images.shape[1]}x{images.shape[2]}, expected some of 28x28: "
            "get the original"
        )
    if len(images) != len(labels):
        raise WorkError(
            f"{images_path.name} holds {len(images)} images but {labels_path.name} {len(labels)} labels "
            f"(in {images_path.parent}): one belongs to another data set; get the originals"
        )
    return images[:, None], check_labels(labels, 0, 9, labels_path)
