"""The digits that come with scikit-learn: 1,797 real handwritten digits of 8x8 pixels, there without a network.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

import os

import numpy as np

from gxnor.data.dataset import DIGITS, Dataset


def load(data_dir: str | os.PathLike | None = None) -> Dataset:
    """Digits: 1,438 and 359 images [1, 8, 8]; pixels 0..16 are scaled to 0..255. `data_dir` is not needed.

    The set has no official test part: a fixed fifth of every class is set aside, the same in every run.
    """
    from sklearn.datasets import load_digits  # here, as this import takes a second that only this set needs

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    # RandomState, as its numbers are promised never to change (NEP 19): the split is part of the data set.
    random = np.random.RandomState(0)
    test = np.zeros(len(labels), bool)
    for digit in range(10):
        members = random.permutation(np.flatnonzero(labels == digit))
        test[members[: round(len(members) / 5)]] = True
    labels = labels.astype(np.int64)
    return Dataset("digits", images[~test], labels[~test], images[test], labels[test], DIGITS)
