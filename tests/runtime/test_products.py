"""The products of the engine: exact for all forms of values, channels, geometries and spaces, and where sums are largest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks import programs
from benchmarks.programs import Builder
from gxnor import native
from gxnor.program.ops import Conv, Dense
from gxnor.program.values import StateTensor
from gxnor.runtime.engine import Engine
from gxnor.space import DiscreteSpace
from tests.agreement import assert_agrees, finished

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 96, 127, 128, 130])
@pytest.mark.parametrize("out", [1, 8, 17])
def test_every_number_of_channels(channels, out):
    for N in (0, 1, 2):
        net = Builder((channels, 5, 4), N, seed=channels + out)
        net.conv(out, 3, N, padding=1)
        net.threshold(N)
        net.conv(out + 1, (2, 3), N)
        assert_agrees(finished(net), programs.batch(net, 3))


@pytest.mark.parametrize("N", [None, 0, 1, 3])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("padding", [0, 1, (2, 5)])
@pytest.mark.parametrize("dilation", [1, (2, 3)])
def test_geometries(N, stride, padding, dilation):
    net = Builder((5, 9, 11), N, seed=1)
    net.conv(6, (3, 2), 1, stride, padding, dilation)
    net.threshold(1)
    net.conv(4, (1, 2), 1, stride, padding, dilation)
    assert_agrees(finished(net), programs.batch(net, 2))


@pytest.mark.parametrize(
    ("channels", "out", "groups"),
    [
        (6, 6, 6),
        (6, 12, 6),
        (20, 20, 20),
        (40, 40, 40),
        (12, 20, 4),
        (70, 34, 2),
        (64, 48, 2),
        (33, 66, 33),
        (48, 3, 3),
    ],
)
@pytest.mark.parametrize("N", [0, 1, 2])
def test_groups(channels, out, groups, N):
    net = Builder((channels, 6, 5), N, seed=groups)
    net.conv(out, 3, N, padding=1, groups=groups)
    assert_agrees(finished(net), programs.batch(net, 2))


@pytest.mark.parametrize("N1", range(5))
@pytest.mark.parametrize("N2", range(5))
def test_every_pair_of_spaces(N1, N2):
    for network in (programs.residual(N1, N2), programs.one_d(N1, N2)):
        assert_agrees(network, programs.batch(network, 3))


@pytest.mark.parametrize("channels", [124, 125, 128, 64 * 15, 64 * 40 + 3])
def test_bit_planes_at_their_largest_sums(channels):
    """All products alike, so many that counters of a byte must be emptied in time."""
    for weights, inputs in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for weight in range(2**weights + 1):
            net = Builder((channels,), inputs)
            indices = np.full((17, channels), weight, dtype=np.uint8)
            net.add(Dense((0,), StateTensor.from_indices(DiscreteSpace(weights), indices)), 1.0)
            program = net.program()
            for level in range(2**inputs + 1):
                assert_agrees(program, np.full((2, channels), level, dtype=np.uint8))


@pytest.mark.parametrize("channels", [1, 5, 8, 30, 64, 100])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_binary_weights_and_activations(channels, padding, stride):
    """Margins of zeros, other groups and what words hold beyond the window are not products, where nothing else is zero."""
    for weights, inputs in ((0, 0), (0, 1), (1, 0)):
        for groups in {1, 5 if channels % 5 == 0 else 1}:
            net = Builder((channels, 5, 7), inputs, seed=channels)
            net.conv(20, (3, 2), weights, stride, padding, groups=groups)
            both = net.threshold(inputs)
            inner = net.conv(5, 1, weights, at=both)
            net.plus(inner, net.conv(5, 3, weights, padding=1, at=both))  # the same value, now with a margin
            assert_agrees(finished(net), programs.batch(net, 3))


@pytest.mark.parametrize("N", range(2, 8))
@pytest.mark.parametrize("channels", [1, 3, 4, 5, 17, 130])
def test_spaces_of_many_levels(N, channels):
    """Every width of a unit, groups, blocks that are not full, spaces of weights from the smallest to the largest."""
    for weights in (0, 1, 2, 5, 6, 7):
        net = Builder((channels, 5, 4), N, seed=channels)
        net.conv(channels, (2, 3), weights, padding=1, groups=channels if channels < 5 else 1)
        net.threshold(N)
        net.max_pool(2, 1)
        net.conv(18, 2, weights, stride=(1, 2))
        net.threshold(N)
        assert_agrees(finished(net), programs.batch(net, 3))


@pytest.mark.parametrize("channels, out", [(128, 300), (260, 140), (16, 33)])
@pytest.mark.parametrize("weights, N", [(1, 1), (2, 3)])
def test_many_channels_at_many_positions(channels, out, weights, N):
    """More units, blocks and positions than any kernel takes at a time, and a few besides."""
    net = Builder((channels, 9, 9), N, seed=out)
    net.conv(out, 3, weights, padding=1)
    net.threshold(N)
    net.conv(3, 9, 1)
    program = finished(net)
    for images in (1, 2):
        assert_agrees(program, programs.batch(program, images))


@pytest.mark.parametrize("N", range(8))
@pytest.mark.parametrize("weights", range(8))
def test_many_levels_at_their_largest_sums(N, weights):
    """Weights and levels all at one end: as far as sums of 16 bits go, and beyond."""
    channels = 700
    for side in (0, 2**weights):
        net = Builder((channels, 2, 3), N)
        states = np.full((3, channels, 2, 2), side, dtype=np.uint8)
        net.add(Conv((0,), StateTensor.from_indices(DiscreteSpace(weights), states), (1, 1), (1, 1), (1, 1), 1), 1.0)
        program = finished(net)
        for level in (0, 2**N):
            assert_agrees(program, np.full((1, channels, 2, 3), level, dtype=np.uint8))


@pytest.mark.parametrize("channels, N, groups, step", [
    (1, 1, 1, "int16"), (2, 0, 1, "pixels"), (3, 1, 1, "pixels"), (5, 4, 1, "pixels"), (63, 1, 1, "pixels"),
    (64, 1, 1, "int16"), (3, 6, 1, "int16"), (4, 1, 2, "int16"),
])  # fmt: skip
def test_pixels_as_bytes(channels, N, groups, step):
    """Where weights and their sums fit, and with all pixels at an end, all weights too, in windows over the border."""
    for kernel, stride, padding, dilation in ((3, 1, 1, 1), (7, 2, 3, 1), ((1, 4), 1, (2, 0), 2), (1, 1, 0, 1)):
        net = Builder((channels, 7, 9))
        net.conv(18, kernel, N, stride, padding, dilation, groups)
        program = finished(net)
        assert f"product, {step}" in Engine(program).steps
        assert_agrees(program, programs.batch(program, 2))
        weight = program.layers[0].weight
        for state in (0, weight.space.size - 1):
            end = StateTensor.from_indices(weight.space, np.full(weight.shape, state, dtype=np.uint8))
            layers = (dataclasses.replace(program.layers[0], weight=end), *program.layers[1:])
            extreme = dataclasses.replace(program, layers=layers)
            for pixel in (0, 127, 128, 255):
                assert_agrees(extreme, np.full((1, channels, 7, 9), pixel, dtype=np.uint8))


@pytest.mark.parametrize("N", [None, 0, 1, 2])
def test_constant_inputs(N):
    """All-zero, all-equal, all at either end."""
    net = Builder((3, 6, 6), N)
    net.conv(9, 3, 1, padding=1)
    net.threshold(1)
    net.conv(9, 3, 1, padding=1)
    program = finished(net)
    top = 255 if N is None else 2**N
    for value in {0, top // 2, top}:
        assert_agrees(program, np.full((2, 3, 6, 6), value, dtype=np.uint8))


@pytest.mark.parametrize("N", [0, 1, 2])
def test_constant_weights(N):
    for index in {0, 2**N // 2, 2**N}:
        space = DiscreteSpace(N)
        net = Builder((70,), N)
        net.add(Dense((0,), StateTensor.from_indices(space, np.full((3, 70), index, dtype=np.uint8))), 1.0)
        program = net.program()
        assert_agrees(program, programs.batch(program, 4))


def test_sums_too_large_for_16_bits():
    """Convolutions of sums, of pooled pixels, and of sums that need all of int32."""
    net = Builder((3, 12, 12))
    net.sum_pool(6)
    net.conv(5, 1, 4)
    net.conv(3, 2, 3)
    assert net.values[-2].bound > 2**15
    assert_agrees(finished(net), np.full((1, 3, 12, 12), 255, dtype=np.uint8))
