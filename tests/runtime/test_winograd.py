"""Winograd's F(2x2, 3x3) and F(4x4, 3x3) in the engine: exact at every extent, and where their integers are largest."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import programs
from benchmarks.programs import Builder
from gxnor import native
from gxnor.program import Program
from gxnor.program.ops import Conv
from gxnor.program.values import StateTensor
from gxnor.runtime.engine import Engine
from gxnor.space import DiscreteSpace
from tests.agreement import ISAS, assert_agrees, finished, winograd

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


ALL = ("winograd2", "winograd4", "winograd2-fip", "winograd4-fip")
TWO = ("winograd2", "winograd2-fip")
# By N of weights and of inputs: the kernels that have room for their points in bytes.
SPACES = {
    (0, 1): ALL,
    (1, 0): ALL,
    (1, 1): ALL,
    (2, 1): ("winograd2", "winograd4", "winograd2-fip"),
    (3, 1): TWO,
    (0, 2): TWO,
    (1, 2): TWO,
    (1, 3): TWO,
    (2, 2): TWO,
    (2, 3): TWO,
    (1, 5): TWO,
    (3, 5): TWO,
    (4, 4): TWO,
    (4, 5): ("winograd2",),
    (5, 1): (),
    (1, 6): (),
}


def assert_takes(program: Program, kernels: tuple[str, ...]) -> None:
    """The first convolution is computed by each of these kernels that an instruction set has, and by no other one."""
    for isa in ISAS:
        known = winograd(isa)
        found = [kernel for kernel, step in known.items() if step in Engine(program, isa=isa, kernel=kernel).steps]
        assert sorted(found) == sorted(kernel for kernel in kernels if kernel in known), isa


@pytest.mark.parametrize("N1, N2", SPACES)
def test_spaces_that_winograd_takes(N1, N2):
    net = Builder((33, 7, 6), N2, seed=N1)
    net.conv(17, 3, N1, padding=1)
    net.threshold(N2)
    program = finished(net)
    assert_takes(program, SPACES[N1, N2])
    assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 2), (3, 5), (4, 7), (16, 16), (19, 33)])
@pytest.mark.parametrize("padding", [0, 1, 2, (3, 0)])
def test_windows_that_winograd_takes(size, padding):
    """Outputs of odd and even extents, strips of several rows and images, all signs of thresholds, sums and levels."""
    for N1, N2, channels, out in (
        (1, 0, 40, 17),
        (0, 1, 32, 16),
        (0, 1, 70, 33),
        (0, 1, 1, 1),
        (1, 3, 70, 33),
        (2, 2, 1, 1),
    ):
        net = Builder((channels, size[0] + 2, size[1] + 2), N2, seed=channels)
        net.conv(out, 3, N1, padding=padding)
        net.threshold(2 * N2)
        program = finished(net)
        assert_takes(program, SPACES[N1, N2])
        assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize(
    "N1, N2, channels", [(1, 1, 897), (2, 1, 897), (1, 2, 897), (4, 4, 897), (4, 5, 4095), (4, 5, 4096)]
)
def test_winograd_at_its_largest_sums(N1, N2, channels):
    """All weights and levels at one end. 16 bits hold the sums of weights: of 8, not those of 4,096."""
    weights, levels = DiscreteSpace(N1), DiscreteSpace(N2)
    for weight_end, level_end in ((-1, -1), (-1, 0), (0, 0)):
        net = Builder((channels, 4, 4), N2)
        indices = np.full((3, channels, 3, 3), range(weights.size)[weight_end], dtype=np.uint8)
        net.add(Conv((0,), StateTensor.from_indices(weights, indices), (1, 1), (1, 1), (1, 1), 1), 1.0)
        program = finished(net)
        assert_takes(program, SPACES[N1, N2] if channels < 4096 else ())
        assert_agrees(program, np.full((1, channels, 4, 4), range(levels.size)[level_end], dtype=np.uint8))


@pytest.mark.parametrize(
    "channels, N1, N2", [(30, 1, 1), (200, 1, 1), (200, 2, 1), (30, 1, 5), (200, 4, 4), (200, 4, 5)]
)
def test_winograd_where_a_point_is_largest(channels, N1, N2):
    for program, x in programs.largest_points(channels, N1, N2):
        assert_takes(program, SPACES[N1, N2])
        assert_agrees(program, x)
