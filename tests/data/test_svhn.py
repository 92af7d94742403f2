import numpy as np
import pytest
import scipy.io

from gxnor.data import load
from gxnor.errors import GxnorError

RANDOM = np.random.default_rng(0)
COUNTS = {"train": 12, "test": 5, "extra": 7}
SETS = {
    name: {
        "X": RANDOM.integers(0, 256, (32, 32, 3, n), dtype=np.uint8),
        "y": (np.arange(n, dtype=np.uint8)[:, None] % 10) + 1,
    }
    for name, n in COUNTS.items()
}


@pytest.fixture
def folder(tmp_path):
    for name, content in SETS.items():
        scipy.io.savemat(tmp_path / f"{name}_32x32.mat", content, do_compression=True)
    return tmp_path


def check(images, labels, name):
    assert len(images) == len(labels) == COUNTS[name]
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        assert (image == SETS[name]["X"][:, :, :, i].transpose(2, 0, 1)).all()
        assert label == SETS[name]["y"][i, 0] % 10  # 10 is the digit 0


def test_train_and_test(folder):
    (folder / "extra_32x32.mat").unlink()
    dataset = load("svhn", folder)
    check(dataset.train_images, dataset.train_labels, "train")
    check(dataset.test_images, dataset.test_labels, "test")
    assert dataset.classes == tuple("0123456789")
    assert 0 in dataset.train_labels


def test_the_extra_set_follows_the_training_set(folder):
    dataset = load("svhn", folder, extra=True)
    check(dataset.train_images[:12], dataset.train_labels[:12], "train")
    check(dataset.train_images[12:], dataset.train_labels[12:], "extra")
    check(dataset.test_images, dataset.test_labels, "test")
    assert len(load("svhn", folder, extra=False).train_images) == 12


def test_extra_must_be_a_bool(folder):
    with pytest.raises(GxnorError, match="extra of svhn must be true or false, got 'no'"):
        load("svhn", folder, extra="no")


def test_the_extra_set_is_missing(folder):
    (folder / "extra_32x32.mat").unlink()
    with pytest.raises(GxnorError, match=r"but not extra_32x32.mat: add it \(from http://ufldl.stanford.edu"):
        load("svhn", folder, extra=True)


GOOD = SETS["train"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"X": GOOD["X"]}, r"got X uint8 \[32, 32, 3, 12\] and y nothing"),
        ({"y": GOOD["y"]}, r"expected X uint8 \[32, 32, 3, n\] .* got X nothing \[\]"),
        ({"X": GOOD["X"].transpose(3, 0, 1, 2), "y": GOOD["y"]}, r"got X uint8 \[12, 32, 32, 3\]"),
        ({"X": GOOD["X"].astype(float), "y": GOOD["y"]}, "got X double"),
        ({"X": GOOD["X"], "y": np.array([["a"] * 12], object)}, "y cell"),
        ({"X": GOOD["X"], "y": GOOD["y"][:-1]}, "holds 12 images but 11 labels"),
        ({"X": GOOD["X"], "y": GOOD["y"] - 1}, r"train_32x32.mat: label 0 of image 0 is not in 1\.\.10"),
        ({"X": GOOD["X"], "y": GOOD["y"] + 1}, r"train_32x32.mat: label 11 of image 9 is not in 1\.\.10"),
    ],
)
def test_wrong_content_is_named(folder, content, message):
    scipy.io.savemat(folder / "train_32x32.mat", content)
    with pytest.raises(GxnorError, match=message):
        load("svhn", folder)


@pytest.mark.parametrize("compressed", [False, True])
def test_no_truncation_or_damage_ends_in_another_error(folder, compressed):
    path = folder / "test_32x32.mat"
    scipy.io.savemat(path, SETS["test"], do_compression=compressed)
    content = path.read_bytes()
    for length in [*range(0, 400, 7), *range(400, len(content) - 8, 997), len(content) - 9]:
        path.write_bytes(content[:length])
        with pytest.raises(GxnorError, match=r"test_32x32\.mat"):
            load("svhn", folder)
    random = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[random.integers(0, 300)] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            load("svhn", folder)
        except GxnorError as error:
            assert "test_32x32.mat" in str(error)


def test_no_matlab_file_at_all(folder):
    for content in (b"", b"<html>404 not found</html>" * 20, b"\x89HDF\r\n\x1a\n" + bytes(600)):
        (folder / "test_32x32.mat").write_bytes(content)
        with pytest.raises(GxnorError, match=r"test_32x32\.mat cannot be read as a MATLAB file"):
            load("svhn", folder)
