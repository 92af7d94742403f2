"""What every loader returns: images and labels as arrays, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gxnor.errors import GxnorError, WorkError
from gxnor.names import wrong_character

DIGITS = tuple("0123456789")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set for classification of images or of series, in the order of its files: nothing is shuffled.

    Args:
        name: as given to `load`.
        train_images: uint8 [n, C, H, W]; or [n, C, L], series of channels, such as spectrograms.
        train_labels: int64 [n], indices into `classes`.
        test_images: uint8, of the same shape but for their number m.
        test_labels: int64 [m].
        classes: the name of every label, at least two, all different.

    Raises:
        ValueError: an array has another dtype or shape, images and labels differ in number, a part is empty, or a label
            is not in 0..len(classes)-1.
        WorkError: a class has a name that no program could carry.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self):
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes must be two or more different names, got {self.classes!r}")
        check_classes(self.classes)
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.size == 0:
                raise ValueError(
                    f"{part}_images must be uint8 [n, C, H, W] or [n, C, L], got {images.dtype} {list(images.shape)}"
                )
            if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"{part}_labels must be int64 [{len(images)}], got {labels.dtype} {list(labels.shape)}"
                )
            if labels.min() < 0 or labels.max() >= len(self.classes):
                raise ValueError(
                    f"{part}_labels must be 0..{len(self.classes) - 1}, got {labels.min()}..{labels.max()}"
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError(
                "train and test images must have one shape, got "
                f"{list(self.train_images.shape[1:])} and {list(self.test_images.shape[1:])}"
            )


def check_classes(classes: tuple[str, ...]) -> None:
    """Raises WorkError for the name of a class that a program would refuse, after the training."""
    for name in classes:
        if character := wrong_character(name):
            kind = "is not UTF-8" if any("\udc80" <= c <= "\udcff" for c in name) else f"has {character}"
            raise WorkError(f"the name of the class {name!r} {kind}, which a program's names may not: rename it")


def check_labels(labels: np.ndarray, first: int, last: int, path: Path) -> np.ndarray:
    """Labels as int64. Raises GxnorError, naming the file, for one outside first..last."""
    wrong = np.flatnonzero((labels < first) | (labels > last))
    if wrong.size:
        raise GxnorError(
            f"{path}: label {labels[wrong[0]]} of image {wrong[0]} is not in {first}..{last}: "
            "the file is damaged or belongs to another data set; get the original"
        )
    return labels.astype(np.int64)
