"""MNIST, Fashion-MNIST and the IDX format they come in.

An IDX file: two zero bytes, a type (8: uint8), the number of dimensions, every dimension as a big-endian 32-bit
integer, then the numbers in C order.
Sources: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"; H. Xiao, K. Rasul, R. Vollgraf,
"Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", arXiv 1708.07747, 2017.
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

_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _files(address: str, *checksums: str) -> list[File]:
    return [File((f"{n}.gz", n), f"{address}{n}.gz", md5) for n, md5 in zip(_NAMES, checksums, strict=True)]


FILES = _files(
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c",
)  # fmt: skip
FASHION_FILES = _files(
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310",
)  # fmt: skip
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where the package dataset-fashion-mnist puts them
FIRST_LABELS = {"mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4), "fashion": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5)}
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def load(data_dir: str | os.PathLike | None = None) -> Dataset:
    """MNIST: 60,000 and 10,000 images [1, 28, 28] of handwritten digits (other sets in its format load as well).

    Raises WorkError: a file is missing, unreadable, damaged, or not what its name says.
    """
    return _load("mnist", locate("mnist", FILES, data_dir), DIGITS)


def load_fashion(data_dir: str | os.PathLike | None = None) -> Dataset:
    """Fashion-MNIST: 60,000 and 10,000 images [1, 28, 28] of ten kinds of clothes, from the folder `fashion` of the places
    that `gxnor.data.files` names, from Debian's package dataset-fashion-mnist, or downloaded.

    Raises WorkError: a file is missing, unreadable, damaged, or not what its name says.
    """
    return _load("fashion", locate("fashion", FASHION_FILES, data_dir, system=DEBIAN), CLOTHES)


def _load(name: str, paths: list[Path], classes: tuple[str, ...]) -> Dataset:
    train_images, train_labels, test_images, test_labels = paths
    train = _read_pair(train_images, train_labels)
    for other, first in FIRST_LABELS.items():  # the files of both sets have the same names
        if other != name and tuple(train[1][: len(first)]) == first:
            raise WorkError(
                f"{train_labels.parent} holds the data set {other}, not {name}: put each into a folder of its name, "
                f"{name}/ and {other}/, and name the folder that holds both"
            )
    return Dataset(name, *train, *_read_pair(test_images, test_labels), classes)


def read(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of an IDX file, packed with gzip or not.

    Raises WorkError: the file is unreadable, not an IDX file of uint8 with that many dimensions, or longer or shorter than
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
            f"{path} is not an IDX file of {'labels' if dimensions == 1 else 'images'}: it begins with the bytes "
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
