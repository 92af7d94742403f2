"""CIFAR-10, the official binary version.

A batch file is 10,000 records of 3,073 bytes: a label, then 32x32 pixels, all red, all green, all blue, row by row.
Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and its data page.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gxnor.data.dataset import Dataset, check_labels
from gxnor.data.files import File, locate, read_bytes
from gxnor.errors import WorkError

FOLDER, META = "cifar-10-batches-bin", "batches.meta.txt"
BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
RECORDS, RECORD_BYTES = 10_000, 1 + 3 * 32 * 32
ARCHIVE = File(
    (FOLDER, BATCHES[0], "cifar-10-binary.tar.gz"),
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
)


def load(data_dir: str | os.PathLike | None = None) -> Dataset:
    """CIFAR-10: 50,000 and 10,000 images [3, 32, 32] of ten kinds of things, from the folder or the packed archive.

    Raises WorkError: a file is missing, unreadable, damaged, or not what its name says.
    """
    (path,) = locate("cifar10", [ARCHIVE], data_dir)
    images = np.empty((len(BATCHES) * RECORDS, 3, 32, 32), np.uint8)
    labels = np.empty(len(BATCHES) * RECORDS, np.int64)
    missing = {META, *BATCHES}
    classes: tuple[str, ...] = ()
    path = path.parent if path.name == BATCHES[0] else path
    for file, data in _contents(path):
        missing.discard(file.name)
        if file.name == META:
            classes = _class_names(data, file)
            continue
        if len(data) != RECORDS * RECORD_BYTES:
            raise WorkError(
                f"{file} has {len(data):,} bytes, expected {RECORDS * RECORD_BYTES:,} ({RECORDS:,} images): "
                "it is cut off or of another version; get the official binary version"
            )
        records = np.frombuffer(data, np.uint8).reshape(RECORDS, RECORD_BYTES)
        first = BATCHES.index(file.name) * RECORDS
        labels[first : first + RECORDS] = check_labels(records[:, 0], 0, 9, file)
        images[first : first + RECORDS] = records[:, 1:].reshape(-1, 3, 32, 32)
    if missing:
        raise WorkError(f"{path} lacks {', '.join(sorted(missing))}: get the official binary version again")
    test = len(labels) - RECORDS
    return Dataset("cifar10", images[:test], labels[:test], images[test:], labels[test:], classes)


def _contents(path: Path) -> Iterator[tuple[Path, bytes]]:
    """Every wanted file in a folder or archive, with its bytes: an archive is read once, one file at a time."""
    if path.is_dir():
        yield from ((path / name, read_bytes(path / name)) for name in (META, *BATCHES) if (path / name).is_file())
        return
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                content = archive.extractfile(member) if member.isfile() and name in (META, *BATCHES) else None
                if content is not None:
                    yield path / name, content.read()
            while stream.read(2**20):  # to the end, where gzip compares its checksum
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise WorkError(f"{path} is damaged or cut off ({error}): get the official archive again") from error


def _class_names(data: bytes, file: Path) -> tuple[str, ...]:
    names = tuple(data.decode("utf-8", "replace").split())
    if len(set(names)) != 10:
        raise WorkError(f"{file} names {len(set(names))} classes, expected 10, one a line: get the original")
    return names
