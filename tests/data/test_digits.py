import hashlib

import numpy as np

from gxnor.data import load


def test_all_of_the_digits_once_scaled_to_bytes():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    dataset = load("digits")
    images = np.concatenate([dataset.train_images, dataset.test_images]).reshape(1797, 64)
    ours = np.column_stack([images, np.concatenate([dataset.train_labels, dataset.test_labels])])
    theirs = np.column_stack([np.rint(pixels * 15.9375), labels])
    assert (ours[np.lexsort(ours.T)] == theirs[np.lexsort(theirs.T)]).all()
    assert dataset.train_images.shape[1:] == (1, 8, 8)
    assert (images.min(), images.max()) == (0, 255)


def test_the_split_is_stratified():
    dataset = load("digits")
    train, test = np.bincount(dataset.train_labels), np.bincount(dataset.test_labels)
    assert (np.abs(test - (train + test) / 5) <= 0.5).all()


def test_the_split_never_changes():
    np.random.seed(7)
    first = load("digits")
    np.random.seed(8)
    second = load("digits")
    assert (first.test_images == second.test_images).all()
    assert hashlib.md5(first.test_images.tobytes()).hexdigest() == "d85b1d161b2e7e458b285b78e18118d4"
