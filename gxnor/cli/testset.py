"""What the commands on a program file share: the network made ready, and the samples that it is tried on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gxnor.cli.telling import warnings_told
from gxnor.errors import GxnorError
from gxnor.program import Program

DATA = "a data set (digits, mnist, ...); or samples of your own: a folder with CLASS/ in it, or a .npy array"


class Samples(NamedTuple):
    """What a program is tried on. labels: int64 (n,), or None where they are not known."""

    name: str
    images: np.ndarray
    labels: np.ndarray | None


def expect_classes(program: Program, path: str | os.PathLike) -> None:
    """Raises GxnorError for a program that gives no single class per sample."""
    if program.output_names:
        raise GxnorError(
            f"{path} has several outputs, {', '.join(program.output_names)}: call gxnor.load(...).predict(...) in Python"
        )
    if len(program.outputs[0].shape) > 1:
        raise GxnorError(f"{path} has scores for every place: call gxnor.load(...).predict(...) in Python")


def ready(program: Program):
    """A program ready to run on all cores; what there is to warn of goes to stderr."""
    from gxnor.runtime.network import Network

    with warnings_told():
        return Network(program, threads=os.cpu_count() or 1)


def load(
    program: Program, data: str, data_dir: Path | None = None, labels: Path | None = None, part: str = "test"
) -> Samples:
    """The part "test" or "train" of a data set, by name, or samples of the user's own, by path:

    * a folder with a folder for each class, or with such in test/: images, resized to the size that the network takes;
    * a folder of images, or a .npy array (n, *shape): with `labels`, a .npy array (n,) of class indices, or without.

    Raises GxnorError where they do not suit the program."""
    from gxnor.data import NAMES

    if data in NAMES:
        if labels is not None:
            raise GxnorError(f"--labels is for a .npy array or a folder of images: {data} has its own")
        return of_data_set(program, data, data_dir, part)
    path = Path(data)
    if not path.exists():
        raise GxnorError(
            f"there is no data set and no path {data!r}: choose one of {', '.join(NAMES)}, or a folder or .npy"
        )
    if data_dir is not None:
        raise GxnorError(f"--data-dir says where a data set by name is; --data {data} is a path already")
    if classes := _class_folders(path):
        if labels is not None:
            raise GxnorError(f"--labels is for a .npy array or a folder of images: the folders in {path} are labels")
        return _from_class_folders(program, data, classes)
    from gxnor.runtime import images

    with warnings_told():
        batch, _ = images.from_path(path, program.input)
    return Samples(data, batch, None if labels is None else _labels(labels, len(batch), len(program.classes)))


def of_data_set(program: Program, name: str, data_dir: Path | None, part: str = "test") -> Samples:
    """The part of a data set, by name alone: a program's file may name one, but no path on this machine."""
    from gxnor import data

    options = {"size": program.input.shape[1:]} if name == "folder" else {}
    dataset = data.load(name, data_dir, **options)
    images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
    if images.shape[1:] != program.input.shape or program.input.space is not None:
        raise GxnorError(
            f"expected data for an input of {program.input.shape}, {name} has images of {images.shape[1:]}"
        )
    return Samples(name, images, labels if dataset.classes == program.classes else None)


def _class_folders(path: Path) -> Path | None:
    """The folder that holds a folder for each class: path/test or path; None where neither does."""
    from gxnor.image_files import is_litter

    for place in (path / "test", path):
        if place.is_dir() and any(entry.is_dir() and not is_litter(entry) for entry in place.iterdir()):
            return place
    return None


def _from_class_folders(program: Program, name: str, place: Path) -> Samples:
    from gxnor.data.folder import labelled
    from gxnor.runtime.images import MODES

    shape = program.input.shape
    if len(shape) != 3 or shape[0] not in MODES or program.input.space is not None:
        raise GxnorError(f"the network takes no images but {shape}: pass a .npy array, and its labels with --labels")
    return Samples(name, *labelled(place, program.classes, MODES[shape[0]], shape[1:]))


def _labels(path: Path, count: int, classes: int) -> np.ndarray:
    from gxnor.runtime.images import read_array

    try:
        labels = read_array(path)
    except (OSError, GxnorError) as error:
        raise GxnorError(f"--labels {path}: {getattr(error, 'strerror', None) or error}") from None
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise GxnorError(f"--labels {path}: expected {count} integers, got {labels.dtype} {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise GxnorError(f"--labels {path}: expected 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)
