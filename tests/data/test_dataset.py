import subprocess
import sys

import numpy as np
import pytest

from gxnor.data import NAMES, Dataset, load
from gxnor.errors import GxnorError

GOOD = {
    "name": "toy",
    "train_images": np.zeros((3, 1, 2, 2), np.uint8),
    "train_labels": np.array([0, 1, 1]),
    "test_images": np.zeros((1, 1, 2, 2), np.uint8),
    "test_labels": np.array([1]),
    "classes": ("a", "b"),
}


def test_good_arrays_are_kept():
    dataset = Dataset(**GOOD)
    assert dataset.train_images is GOOD["train_images"]
    assert dataset.classes == ("a", "b")
    with pytest.raises(AttributeError):
        dataset.classes = ("c", "d")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((3, 1, 2, 2), np.float32)}, "train_images must be uint8"),
        ({"train_images": np.zeros((3, 2), np.uint8)}, "train_images must be uint8"),
        ({"train_images": np.zeros((3, 2, 2), np.uint8)}, "one shape"),
        ({"test_images": np.zeros((0, 1, 2, 2), np.uint8)}, "test_images must be uint8"),
        ({"test_images": np.zeros((1, 3, 2, 2), np.uint8)}, "one shape"),
        ({"train_labels": np.array([0, 1])}, r"train_labels must be int64 \[3\]"),
        ({"test_labels": np.array([1], np.uint8)}, "test_labels must be int64"),
        ({"train_labels": np.array([0, 1, 2])}, r"0\.\.1, got 0\.\.2"),
        ({"test_labels": np.array([-1])}, r"0\.\.1, got -1\.\.-1"),
        ({"classes": ("a", "a")}, "different names"),
        ({"classes": ("a",), "train_labels": np.zeros(3, np.int64), "test_labels": np.zeros(1, np.int64)}, "two or"),
    ],
)
def test_wrong_arrays_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Dataset(**{**GOOD, **change})


def test_unknown_names_and_options_are_named():
    with pytest.raises(
        GxnorError, match="'imagenet': choose one of digits, mnist, fashion, cifar10, svhn, fsdd, folder"
    ):
        load("imagenet")
    with pytest.raises(GxnorError, match="mnist has no option 'extra': it knows none"):
        load("mnist", extra=True)
    with pytest.raises(GxnorError, match="folder has no option 'sise': it knows path, size"):
        load("folder", sise=(8, 8))
    assert NAMES == ("digits", "mnist", "fashion", "cifar10", "svhn", "fsdd", "folder")


def test_data_needs_no_torch():
    code = "import sys; from gxnor.data import load; load('digits'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
