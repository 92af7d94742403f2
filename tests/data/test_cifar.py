import io
import shutil
import tarfile

import numpy as np
import pytest

from gxnor.data import cifar, load
from gxnor.errors import GxnorError

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
RANDOM = np.random.default_rng(0)
RECORDS = [np.column_stack([RANDOM.integers(0, 10, 4), RANDOM.integers(0, 256, (4, 3072))]) for _ in range(6)]
RECORDS = [records.astype(np.uint8) for records in RECORDS]


@pytest.fixture(autouse=True)
def four_records_a_file(monkeypatch):
    monkeypatch.setattr(cifar, "RECORDS", 4)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, records in zip(cifar.BATCHES, RECORDS, strict=True):
        (folder / name).write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    (folder / "readme.html").write_text("as in the official archive")
    return folder


def pack(folder, path):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    return path


def check(dataset):
    train = np.concatenate(RECORDS[:5])
    assert (dataset.train_labels == train[:, 0]).all()
    assert (dataset.train_images.reshape(20, 3072) == train[:, 1:]).all()
    assert dataset.train_images.shape == (20, 3, 32, 32)
    assert dataset.train_images[7, 1, 2, 3] == RECORDS[1][3, 1 + 1024 + 2 * 32 + 3]  # green, row 2, column 3
    assert (dataset.test_labels == RECORDS[5][:, 0]).all()
    assert (dataset.test_images.reshape(4, 3072) == RECORDS[5][:, 1:]).all()
    assert dataset.classes == tuple(CLASSES)


def test_the_folder_is_found_from_everywhere(folder, tmp_path, monkeypatch):
    check(load("cifar10", folder))
    check(load("cifar10", folder.parent))
    folder.parent.rename(tmp_path / "cifar10")
    monkeypatch.setenv("GXNOR_DATA", str(tmp_path))
    check(load("cifar10"))


def test_the_packed_archive(folder, tmp_path):
    (tmp_path / "packed").mkdir()
    pack(folder, tmp_path / "packed" / "cifar-10-binary.tar.gz")
    check(load("cifar10", tmp_path / "packed"))
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["cifar-10-binary.tar.gz"]


@pytest.fixture(params=["folder", "archive"])
def load_it(request, folder, tmp_path):
    """Loads the folder, or the archive of what is then in the folder."""

    def load_archive():
        (tmp_path / "packed").mkdir()
        pack(folder, tmp_path / "packed" / "cifar-10-binary.tar.gz")
        return load("cifar10", tmp_path / "packed")

    return load_archive if request.param == "archive" else lambda: load("cifar10", folder.parent)


@pytest.mark.parametrize("change", [-1, 1, -3073, 3073])
def test_a_file_of_the_wrong_size(folder, load_it, change):
    path = folder / "data_batch_3.bin"
    path.write_bytes((path.read_bytes() + bytes(3073))[: 4 * 3073 + change])
    with pytest.raises(GxnorError, match=rf"data_batch_3.bin has {4 * 3073 + change:,} bytes, expected 12,292"):
        load_it()


def test_a_label_that_is_no_class(folder, load_it):
    path = folder / "test_batch.bin"
    content = bytearray(path.read_bytes())
    content[2 * 3073] = 10
    path.write_bytes(content)
    with pytest.raises(GxnorError, match=r"test_batch\.bin: label 10 of image 2 is not in 0\.\.9"):
        load_it()


@pytest.mark.parametrize("name", ["data_batch_5.bin", "test_batch.bin", "batches.meta.txt"])
def test_a_missing_file(folder, load_it, name):
    (folder / name).unlink()
    with pytest.raises(GxnorError, match=f"lacks {name}"):
        load_it()


@pytest.mark.parametrize("text", [b"", b"cat\ndog\n", b"cat\n" * 10, b"\xff\xfe\x00" * 100])
def test_class_names_that_are_not_ten(folder, load_it, text):
    (folder / "batches.meta.txt").write_bytes(text)
    with pytest.raises(GxnorError, match=r"batches\.meta\.txt names \d+ classes, expected 10"):
        load_it()


def test_an_archive_that_is_cut_off_damaged_or_none(folder, tmp_path):
    path = pack(folder, tmp_path / "cifar-10-binary.tar.gz")
    content = path.read_bytes()
    shutil.rmtree(folder)
    damaged = bytearray(content)
    damaged[len(damaged) // 2 : len(damaged) // 2 + 100] = bytes(100)
    for wrong in (b"<html>", content[:5], content[: len(content) // 2], content[:-1], bytes(damaged)):
        path.write_bytes(wrong)
        with pytest.raises(GxnorError, match=r"cifar-10-binary\.tar\.gz is damaged or cut off"):
            load("cifar10", tmp_path)


def test_an_archive_of_something_else(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("cifar-10-batches-py/data_batch_1"), io.BytesIO())
    with pytest.raises(GxnorError, match=r"lacks batches\.meta\.txt, data_batch_1\.bin"):
        load("cifar10", tmp_path)
