"""A recipe that trains in a second."""

import pytest

from gxnor.training import recipe as recipes

TINY = ["network.layers=8C3-MP2-32FC-10", "train.epochs=3", "train.batch=100", "data.validation=200"]


@pytest.fixture
def tiny():
    def make(*settings):
        return recipes.load("digits", [*TINY, *settings])

    return make
