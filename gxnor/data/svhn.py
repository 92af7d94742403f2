"""SVHN, street view house numbers: the official cropped digits, MATLAB files.

X is uint8 [32, 32, 3, n]: row, column, channel, image. y is [n, 1], where label 10 means the digit 0.
Source: Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from gxnor.data.dataset import DIGITS, Dataset, check_labels
from gxnor.data.files import File, locate
from gxnor.errors import GxnorError, WorkError

TRAIN, TEST, EXTRA = (
    File((f"{name}_32x32.mat",), f"http://ufldl.stanford.edu/housenumbers/{name}_32x32.mat", md5)
    for name, md5 in (
        ("train", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        ("test", "eb5a983be6a315427106f1b164d9cef3"),
        ("extra", "a93ce644f1a588dc4d68dda5feec44a7"),
    )
)


def load(data_dir: str | os.PathLike | None = None, *, extra: bool = False) -> Dataset:
    """SVHN: 73,257 and 26,032 images [3, 32, 32]; with `extra`, 531,131 easier ones follow the training images.

    Raises GxnorError: `extra` is not a bool, or a file is missing, unreadable, damaged, or not what its name says.
    """
    if not isinstance(extra, bool):
        raise GxnorError(f"the option extra of svhn must be true or false, got {extra!r}")
    train, test, *more = locate("svhn", [TRAIN, TEST, EXTRA] if extra else [TRAIN, TEST], data_dir)
    return Dataset("svhn", *_read([train, *more]), *_read([test]), classes=DIGITS)


def _read(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the files, one after the other."""
    import scipy.io  # here, so that the other sets load where it is not installed

    counts = [_count(path) for path in paths]
    images = np.empty((sum(counts), 3, 32, 32), np.uint8)
    labels = np.empty(sum(counts), np.int64)
    for path, end in zip(paths, np.cumsum(counts), strict=True):
        try:
            content = scipy.io.loadmat(path, variable_names=["X", "y"])
            y = content["y"].ravel()
            images[end - len(y) : end] = content["X"].transpose(3, 2, 0, 1)
        except Exception as error:
            raise _unreadable(path, error) from error
        labels[end - len(y) : end] = check_labels(y, 1, 10, path) % 10
    return images, labels


def _count(path: Path) -> int:
    """Number of images in a file, from its headers: the arrays are made once, at their full size."""
    import scipy.io

    try:
        variables = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(path)}
    except Exception as error:
        raise _unreadable(path, error) from error
    x, x_kind = variables.get("X", ((), "nothing"))
    y, y_kind = variables.get("y", ((), "nothing"))
    if len(x) != 4 or x[:3] != (32, 32, 3) or x[3] == 0 or (x_kind, y_kind) != ("uint8", "uint8"):
        raise WorkError(
            f"{path}: expected X uint8 [32, 32, 3, n] and y uint8 [n, 1], got X {x_kind} {list(x)} and "
            f"y {y_kind} {list(y)}; get the original"
        )
    if math.prod(y) != x[3]:
        raise WorkError(f"{path} holds {x[3]} images but {math.prod(y)} labels: get the original")
    return x[3]


def _unreadable(path: Path, error: Exception) -> GxnorError:
    # On damaged files SciPy raises whatever it stumbles over: ValueError, TypeError, zlib.error, ...
    return WorkError(
        f"{path} cannot be read as a MATLAB file ({type(error).__name__}: {error}): it is cut off or damaged; "
        "get the original again"
    )
