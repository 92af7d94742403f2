"""Augmentation: what comes out is the image moved, drawn for every image on its own."""

import pytest
import torch

from gxnor.training.augment import augment
from gxnor.training.recipe import Augment


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def images(batch=64, channels=3, size=9, seed=1):
    return torch.randint(1, 256, (batch, channels, size, size), generator=draws(seed)).to(torch.uint8)


def test_nothing_asked_for_changes_nothing():
    x = images()
    assert torch.equal(augment(x, Augment(), draws()), x)


def test_every_image_is_shifted_on_its_own_by_whole_pixels_and_filled_with_black():
    x = images(batch=400, channels=2)
    y = augment(x, Augment(shift=2), draws())
    assert y.shape == x.shape and y.dtype == torch.uint8
    seen = set()
    for before, after in zip(x, y, strict=True):
        found = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.equal(torch.nn.functional.pad(before, (2, 2, 2, 2))[:, 2 + dy : 11 + dy, 2 + dx : 11 + dx], after)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 25  # every shift occurs: each of 400 images misses a given one with probability 24/25


def test_half_of_the_images_are_flipped():
    x = images(batch=1000)
    y = augment(x, Augment(flip=True), draws())
    flipped = (y == x.flip(-1)).flatten(1).all(1)
    kept = (y == x).flatten(1).all(1)
    assert bool((flipped | kept).all()) and 400 < int(flipped.sum()) < 600


def test_rotation_turns_and_keeps_the_centre():
    x = torch.zeros(200, 1, 21, 21, dtype=torch.uint8)
    x[:, :, 10, 2:11] = 255  # a hand of a clock, from the centre to the left
    y = augment(x, Augment(rotate=45), draws())
    assert (y[:, 0, 10, 10] > 60).all()
    rows = (y[:, 0, :, :5].float().sum(2) * torch.arange(21)).sum(1) / y[:, 0, :, :5].float().sum((1, 2)).clamp(min=1)
    assert rows.min() < 7 and rows.max() > 13  # its tip goes up and down
    still = augment(x, Augment(rotate=1e-6), draws())
    assert (still.int() - x.int()).abs().max() <= 1


def test_scale_grows_and_shrinks():
    x = torch.zeros(200, 1, 31, 31, dtype=torch.uint8)
    x[:, :, 10:21, 10:21] = 255
    area = augment(x, Augment(scale=0.2), draws()).float().sum((1, 2, 3)) / x[0].sum()
    assert area.min() < 0.8 and area.max() > 1.3


def test_elastic_distortion_moves_neighbours_together():
    x = torch.zeros(400, 1, 28, 28, dtype=torch.uint8)
    x[:, :, :, 13:15] = 255  # an upright bar
    y = augment(x, Augment(elastic=1.5), draws())[:, 0, 6:-6].float()  # rows at the edge may show what is outside
    place = (y * torch.arange(28)).sum(2) / y.sum(2) - 13.5  # of the bar, in every row of every image
    assert abs(place.mean()) < 0.2 and 1.0 < place.std() < 2.0  # by so many pixels as asked for, either way
    assert (place[:, 1:] - place[:, :-1]).std() < 0.5  # from row to row by little
    assert (place.amax(1) - place.amin(1)).mean() > 1  # and not as a whole: it bends


def test_elastic_distortion_bends_images_smaller_than_its_spacing():
    x = torch.zeros(400, 1, 8, 8, dtype=torch.uint8)
    x[:, :, :, 3:5] = 255
    y = augment(x, Augment(elastic=0.7), draws())[:, 0, 3:5].float()
    place = (y * torch.arange(8)).sum(2) / y.sum(2).clamp(min=1)
    assert (place[:, 1] - place[:, 0]).std() > 0.05  # as a whole it would move all rows alike


def test_cutout_makes_one_square_black_wherever_it_lies():
    x = images(batch=600)
    y = augment(x, Augment(cutout=3), draws())
    black = (y == 0).all(1)
    assert torch.equal(y, x.masked_fill(black[:, None], 0))  # the rest is as it was
    sides = [(int(b.any(1).sum()), int(b.any(0).sum()), int(b.sum())) for b in black]
    assert all(height * width == count for height, width, count in sides)
    assert {(h, w) for h, w, _ in sides} == {(h, w) for h in (2, 3) for w in (2, 3)}  # cut off at the image's border
    assert black.any(0).all()
    assert (augment(x, Augment(cutout=100), draws()) == 0).all()


@pytest.mark.parametrize(
    "settings",
    [Augment(shift=2, flip=True), Augment(rotate=10, scale=0.1, shear=5, shift=1), Augment(elastic=1.5, cutout=3)],
)
def test_the_draws_decide(settings):
    x = images()
    assert torch.equal(augment(x, settings, draws(5)), augment(x, settings, draws(5)))
    assert not torch.equal(augment(x, settings, draws(5)), augment(x, settings, draws(6)))
