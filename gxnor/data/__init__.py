"""Data sets of images and of sound in their official formats, as uint8 arrays.

    dataset = load("mnist")
    dataset.train_images    # uint8 [60000, 1, 28, 28]
    dataset.train_labels    # int64 [60000]

Nothing here needs PyTorch.
"""

from __future__ import annotations

import inspect
import os

from gxnor.data import cifar, digits, folder, fsdd, idx, svhn
from gxnor.data.dataset import Dataset
from gxnor.errors import GxnorError

_LOADERS = {
    "digits": digits.load, "mnist": idx.load, "fashion": idx.load_fashion, "cifar10": cifar.load, "svhn": svhn.load,
    "fsdd": fsdd.load, "folder": folder.load,
}  # fmt: skip
NAMES = tuple(_LOADERS)

__all__ = ["NAMES", "Dataset", "load"]


def load(name: str, data_dir: str | os.PathLike | None = None, **options) -> Dataset:
    """The data set of that name, from files of this machine, downloaded if it is not there.

    Args:
        name: one of `NAMES`.
        data_dir: where to look before $GXNOR_DATA and the user's cache folder.
        options: svhn: `extra`. folder: `path`, `size`. See the loaders.

    Raises GxnorError: an unknown name or option; files that are missing and cannot be downloaded, damaged, or not what
    their names say.
    """
    if name not in _LOADERS:
        raise GxnorError(f"there is no data set {name!r}: choose one of {', '.join(NAMES)}")
    known = [key for key in inspect.signature(_LOADERS[name]).parameters if key != "data_dir"]
    for key in options:
        if key not in known:
            raise GxnorError(f"the data set {name} has no option {key!r}: it knows {', '.join(known) or 'none'}")
    return _LOADERS[name](data_dir, **options)
