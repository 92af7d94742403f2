import gzip
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gxnor.data import idx, load
from gxnor.errors import GxnorError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def encode(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder, packed=False, **replaced):
    """A small MNIST: 12 and 5 images; `replaced` gives other bytes for train_images, train_labels, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "train_images": encode(IMAGES),
        "train_labels": encode(LABELS),
        "test_images": encode(IMAGES[:5]),
        "test_labels": encode(LABELS[:5]),
    }
    for name, content in zip(NAMES, (contents | replaced).values(), strict=True):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "mnist"])
def test_files_come_back_as_they_are(tmp_path, packed, below):
    write(tmp_path / below, packed)
    dataset = load("mnist", tmp_path)
    assert (dataset.train_images == IMAGES[:, None]).all()
    assert (dataset.train_labels == LABELS).all()
    assert (dataset.test_images == IMAGES[:5, None]).all()
    assert (dataset.test_labels == LABELS[:5]).all()
    assert dataset.train_images.flags.writeable  # torch.from_numpy warns about arrays that are not


def test_unpacked_content_under_the_packed_name(tmp_path):
    for name in NAMES:
        write(tmp_path)
        (tmp_path / name).rename(tmp_path / f"{name}.gz")
    assert len(load("mnist", tmp_path).train_images) == 12


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"train_images": encode(IMAGES)[:-1]}, r"train-images-idx3-ubyte has 9,423 bytes .* asks for 9,424"),
        ({"train_images": encode(IMAGES) + b"\0"}, r"has 9,425 bytes .* asks for 9,424"),
        ({"train_images": b""}, r"train-images-idx3-ubyte is not an IDX file of images: .* \(none\)"),
        (
            {"train_images": b"<html>not found</html>"},
            "not an IDX file of images: it begins with the bytes 3c 68 74 6d",
        ),
        ({"train_images": encode(LABELS)}, "not an IDX file of images"),
        ({"test_labels": encode(IMAGES)}, "t10k-labels-idx1-ubyte is not an IDX file of labels"),
        ({"train_images": encode(IMAGES[:, :27])}, "12 images of 27x28, expected some of 28x28"),
        ({"train_images": encode(IMAGES[:0]), "train_labels": encode(LABELS[:0])}, "0 images of 28x28"),
        ({"train_labels": encode(LABELS[:-1])}, "12 images but train-labels-idx1-ubyte 11 labels"),
        ({"test_labels": encode(LABELS[:5] + 6)}, r"t10k-labels-idx1-ubyte: label 10 of image 4 is not in 0\.\.9"),
        ({"train_images": bytes((0, 0, 8, 3)) + b"\xff" * 12}, "its header asks for"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_wrong_content_is_named(tmp_path, replaced, message, packed):
    write(tmp_path, packed, **replaced)
    message = message.replace("ubyte has", r"ubyte(\.gz)? has").replace("ubyte is", r"ubyte(\.gz)? is")
    message = message.replace("ubyte 11", r"ubyte(\.gz)? 11").replace("ubyte: label", r"ubyte(\.gz)?: label")
    with pytest.raises(GxnorError, match=message):
        load("mnist", tmp_path)


def test_a_packed_file_that_is_cut_off_or_damaged(tmp_path):
    write(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 0xFF
    for wrong in (content[: len(content) // 2], content[:-1], content[:5], bytes(damaged)):
        path.write_bytes(wrong)
        with pytest.raises(GxnorError, match=r"train-images-idx3-ubyte\.gz is damaged or cut off"):
            load("mnist", tmp_path)


def test_a_file_that_cannot_be_read(tmp_path):
    write(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    (tmp_path / "t10k-images-idx3-ubyte").mkdir()
    with pytest.raises(GxnorError, match=r"cannot read .*t10k-images-idx3-ubyte: Is a directory"):
        load("mnist", tmp_path)


SMALL = encode(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@settings(deadline=None, derandomize=True)
@given(length=st.integers(0, len(SMALL) - 1), packed=st.booleans())
def test_every_truncation_is_refused(length, packed):
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(gzip.compress(SMALL, mtime=0)[:length] if packed else SMALL[:length])
        with pytest.raises(GxnorError, match="file"):
            idx.read(path, 3)


@settings(deadline=None, derandomize=True)
@given(
    content=st.binary(max_size=80), begin=st.sampled_from([b"", SMALL[:4], SMALL[:16], b"\x1f\x8b", b"\x1f\x8b\x08\0"])
)
def test_no_content_ends_in_another_error(content, begin):
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(begin + content)
        try:
            array = idx.read(path, 3)
        except GxnorError:
            return
        assert encode(array) == begin + content


def test_real_mnist(real_data):
    dataset = load("mnist", real_data)
    assert dataset.train_images.shape == (60000, 1, 28, 28)
    assert dataset.test_images.shape == (10000, 1, 28, 28)
    assert dataset.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(dataset.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # Known statistics of the pixels; another order of rows or a wrong offset within the file would move them.
    assert round(float(dataset.train_images.mean()) / 255, 4) == 0.1307
    assert round(float(dataset.train_images.std()) / 255, 4) == 0.3081


@pytest.mark.parametrize("packed", [False, True])
def test_fashion_is_read_from_its_folder_and_names_clothes(tmp_path, packed):
    write(tmp_path / "fashion", packed)
    write(tmp_path / "mnist", packed, train_images=encode(255 - IMAGES))
    dataset = load("fashion", tmp_path)
    assert (dataset.train_images[:, 0] == IMAGES).all() and (dataset.test_labels == LABELS[:5]).all()
    assert dataset.classes[0] == "T-shirt/top" and dataset.classes[9] == "Ankle boot" and dataset.name == "fashion"


def test_fashion_is_read_from_where_debian_puts_it_after_what_the_user_names(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "DEBIAN", write(tmp_path / "system", packed=True))
    assert (load("fashion").train_images[:, 0] == IMAGES).all()
    write(tmp_path / "own" / "fashion", train_images=encode(255 - IMAGES))
    assert (load("fashion", tmp_path / "own").train_images[:, 0] == 255 - IMAGES).all()


@pytest.mark.parametrize("name, other", [("fashion", "mnist"), ("mnist", "fashion")])
def test_one_set_is_not_taken_for_the_other_whose_files_have_the_same_names(tmp_path, name, other):
    labels = np.array([*idx.FIRST_LABELS[other], 3, 4], np.uint8)
    write(tmp_path, train_labels=encode(labels))
    with pytest.raises(GxnorError, match=f"holds the data set {other}, not {name}: put each into a folder of its name"):
        load(name, tmp_path)
