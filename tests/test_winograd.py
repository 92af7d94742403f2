"""Winograd's F(2x2, 3x3) and F(4x4, 3x3) in the engine: exact at every extent, and where their integers are largest."""

from __future__ import annotations

import numpy as np
import pytest

from gxnor import native
from gxnor.engine import Engine
from gxnor.layers import Conv, StateTensor
from gxnor.space import DiscreteSpace
from tests import programs
from tests.agreement import ISAS, WINOGRAD, assert_agrees, finished, winograd
from tests.programs import Builder

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 2), (3, 5), (4, 7), (16, 16), (19, 33)])
@pytest.mark.parametrize("padding", [0, 1, 2, (3, 0)])
def test_windows_that_winograd_takes(size, padding):
    """Outputs of odd and even extents, strips of several rows and images, all signs of thresholds, sums and levels."""
    for N, channels, out in ((0, 40, 17), (1, 32, 16), (1, 70, 33), (1, 1, 1)):
        net = Builder((channels, size[0] + 2, size[1] + 2), N, seed=channels)
        net.conv(out, 3, 1 - N, padding=padding)
        net.threshold(2 * N)
        program = finished(net)
        for isa in ISAS:
            assert all(step in Engine(program, isa=isa, kernel=kernel).steps for kernel, step in winograd(isa).items())
        assert_agrees(program, programs.batch(program, 3))


def test_winograd_at_its_largest_sums():
    """All weights and levels at one end, as many channels as fit into the 16 bits of 2x2 tiles, and one more."""
    for channels, suits in ((896, True), (897, False)):
        for weights, levels in ((2, 2), (2, 0), (0, 0)):
            net = Builder((channels, 4, 4), 1)
            weight = StateTensor.from_indices(DiscreteSpace(1), np.full((3, channels, 3, 3), weights, dtype=np.uint8))
            net.add(Conv((0,), weight, (1, 1), (1, 1), (1, 1), 1), 1.0)
            program = finished(net)
            assert (WINOGRAD["winograd2"] in Engine(program, kernel="winograd2").steps) == suits
            assert WINOGRAD["winograd4"] in Engine(program, kernel="winograd4").steps
            assert_agrees(program, np.full((1, channels, 4, 4), levels, dtype=np.uint8))


@pytest.mark.parametrize("channels", [30, 200])
def test_winograd_where_a_point_is_largest(channels):
    for program, x in programs.largest_points(channels):
        assert_agrees(program, x)
