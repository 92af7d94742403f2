"""The layers of a program on the engine: the reference interpreter's values, every bit of them, on every instruction set."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from benchmarks import programs
from benchmarks.programs import Builder
from gxnor import native
from gxnor.program import Input, Program
from gxnor.program.ops import ALWAYS, NEVER, Flatten, Requantize, Scale, Threshold
from gxnor.runtime.engine import Engine
from gxnor.space import DiscreteSpace
from tests.agreement import assert_agrees, finished

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


@pytest.mark.parametrize("seed", range(120))
def test_any_mixture_of_layers(seed):
    program = programs.random_program(seed, every=seed % 2 == 0)
    assert_agrees(program, programs.batch(program, 1 + seed % 5, seed))


def test_networks_of_the_paper():
    for program in (programs.mnist(), programs.cifar(width=24)):
        assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("N1, N2", [(1, 1), (0, 0), (0, 1), (2, 3), (1, 7)])
def test_networks_of_blocks(N1, N2):
    """Channels that fill no block of 16, one, and more; odd extents; Winograd's tiles that reach beyond the last pixel."""
    for program in (
        programs.resnet(1, 5, 9, N1, N2),
        programs.resnet(1, 17, 11, N1, N2),
        programs.resnet18(3, 35, N1, N2),
        programs.mobilenet_v1(3, 33, N1, N2),
        programs.keywords(9, N1, N2),
    ):
        assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("N1, N2", [(0, 0), (1, 0), (1, 1), (0, 2), (3, 1), (2, 5), (6, 6), (7, 6), (1, 7), (7, 7)])
@pytest.mark.parametrize("channels, kernel, stride, padding, dilation", [
    (2, (3, 3), (1, 1), (1, 1), (1, 1)),
    (16, (3, 3), (2, 2), (1, 1), (1, 1)),
    (17, (1, 5), (1, 3), (0, 2), (1, 2)),
    (40, (4, 2), (2, 1), (2, 0), (2, 1)),
])  # fmt: skip
def test_depthwise_convolutions(N1, N2, channels, kernel, stride, padding, dilation):
    """On states and on what follows them; the value is read by a product of bits and by a sum as well."""
    net = Builder((channels, 9, 7), N2)
    net.conv(channels, kernel, N1, stride, padding, dilation, groups=channels)
    net.threshold(N2)
    both = net.conv(channels, 3, N1, padding=1, groups=channels)
    net.plus(both, net.conv(channels, 1, min(N1, 1), at=2), (1, 2))
    net.plus(net.last, 2, (1, 3))
    program = finished(net)
    assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("channels", [2, 16, 17])
def test_depthwise_convolutions_of_pixels_and_sums(channels):
    """In 16 bits and in 32."""
    net = Builder((channels, 9, 7))
    net.conv(channels, 3, 2, padding=1, groups=channels)
    net.conv(channels, (3, 2), 5, 2, padding=1, groups=channels)
    assert net.values[-1].bound > 2**15
    net.conv(channels, 3, 1, padding=2, dilation=2, groups=channels)
    program = finished(net)
    assert Engine(program).steps.count("product, depthwise") == 3
    assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("N", [None, 1, 2])
@pytest.mark.parametrize("pool", [2, 3])
def test_depthwise_convolutions_before_a_pool_and_thresholds(N, pool):
    """Of cells of 2 x 2, which other convolutions pool before they apply thresholds, and of others."""
    for channels in (8, 17):
        net = Builder((channels, 7, 8), N)
        net.conv(channels, 3, 1, padding=1, groups=channels)
        net.max_pool(pool)
        net.threshold(1)
        program = finished(net)
        assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("N", [None, 0, 1, 2, 7])
@pytest.mark.parametrize("channels", [8, 17, 48, 136])
def test_channels_in_any_order(N, channels):
    """Halves, from a byte on and not, shuffled groups, reversed, some twice: of states, of pixels and of sums."""
    every, eighths = np.arange(channels), np.arange(channels // 8 * 8).reshape(-1, channels // 8)
    for order in (every[8:], every[:8], every[3:12], eighths.T.ravel(), every[::-1], np.r_[every, every[:1]]):
        if not len(order):
            continue
        for sums in (False, True):
            net = Builder((channels, 3, 4), N)
            if sums:
                net.conv(channels, 1)
            net.channels(order)
            if N is not None and not sums:
                net.conv(5, 1)
            program = finished(net)
            assert_agrees(program, programs.batch(program, 2))


@pytest.mark.parametrize("N", [0, 1, 2, 6, 7])
@pytest.mark.parametrize("channels", [(8, 5), (16, 24), (3, 8), (7, 1)])
def test_values_are_joined_padded_and_repeated(N, channels):
    """Parts that begin at a byte and parts that do not; what is read as bits, as bytes and as sums afterwards."""
    for weights in (1, 3):
        net = Builder((2, 5, 6), N)
        parts = []
        for part in channels:
            net.conv(part, 3, 1, padding=1, at=0)
            parts.append(net.threshold(N))
        net.concat(*parts)
        net.pad((1, 0), (2, 3))
        net.upsample((2, 3))
        net.conv(9, 3, weights, padding=1)
        net.threshold(1)
        net.concat(net.last, net.last)
        net.channels([17, 3, 3, 0, 9])
        program = finished(net)
        assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("N", [0, 1, 2, 7])
@pytest.mark.parametrize("channels", [(8, 16, 40), (16, 5), (5, 16), (33, 8)])
def test_parts_that_nothing_else_reads_are_written_where_they_are_joined(N, channels):
    """By convolutions, Winograd too, by pools and by steps of their own; states and sums; one has another reader."""
    for states in (True, False):
        net = Builder((3, 6, 7), N)
        parts = [net.conv(part, 1 + 2 * (i % 2), 1, padding=i % 2, at=0) for i, part in enumerate(channels)]
        if states:
            parts = [net.threshold(N, at=part) for part in parts]
        net.concat(*parts)
        assert ("concat" in Engine(finished(copy.deepcopy(net))).steps) == (
            channels != (8, 16, 40) and states and N < 2
        )
        both = net.plus(net.conv(4, 3, 1, padding=1), net.conv(4, 1, 1, at=parts[0]))
        pooled = net.sum_pool(3, 1, padding=1, at=parts[-1])
        net.concat(both, net.requantize(50.0, at=0), pooled)
        program = finished(net)
        assert_agrees(program, programs.batch(program, 3))


def test_sums_of_branches_are_taken_while_they_are_in_the_cache():
    steps = Engine(programs.resnet(1, 16, 8)).steps
    assert not {"add", "threshold", "requantize"} & set(steps)


@pytest.mark.parametrize(
    "shift, multiplier, offset",
    [
        (0, 1, -7),
        (1, -1, 2**40),
        (31, 2**31 - 1, 1),
        (32, -(2**31) + 1, 0),
        (45, 2**30 + 1, -(2**60)),
        (62, 3, -(2**61)),
        (62, 2**30, 2**61),
    ],
)
def test_requantize_at_its_limits(shift, multiplier, offset, instruction_set):
    """Shifts beyond 32, offsets beyond 32 bits: before thresholds, before a sum, and on its own, rounded down."""
    for ending in range(3):
        net = Builder((5, 3, 4), 6)
        body = net.add(Requantize((0,), shift, np.full(5, multiplier, np.int32), np.full(5, offset, np.int64)), 100.0)
        if net.values[body].bound >= 2**30:
            pytest.skip("its values are too large for a sum")
        if ending:
            net.plus(body, 0, (1, -3))
        if ending == 2:
            net.threshold(2)
        program = finished(net)
        assert_agrees(program, programs.batch(program, 5))


@pytest.mark.parametrize("N", [None, 0, 1, 2, 7])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 16])
def test_neighbouring_pixels_of_few_channels(N, channels):
    """Rows that divide into two, three and more pixels and that do not; strides, dilations, groups, a sum of branches."""
    for width, weights in ((1, 1), (2, 0), (5, 1), (6, 3), (12, 1), (16, 0)):
        net = Builder((channels, 4, width), N)
        for kernel, stride, padding, dilation, groups in (
            (3, 1, 1, 1, 1), (1, (2, 1), 0, 1, 1), (3, 1, 2, 2, channels), (2, (1, 2), 1, 1, 1)
        ):  # fmt: skip
            before = net.last
            net.conv(channels, kernel, weights, stride, padding, dilation, groups)
            net.requantize(100)
            if net.values[before].shape == net.values[-1].shape:
                net.plus(net.last, before, (1, 3))
            net.threshold(N or 1)
        net.max_pool(2, 1, padding=1)
        program = finished(net)
        assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("shift, offset", [(0, 5), (9, -(2**20)), (33, 2**40 + 1), (62, 2**61), (62, -(2**62) + 2**40)])
@pytest.mark.parametrize("N", [0, 1, 3])
def test_thresholds_of_requantized_values(N, shift, offset):
    """Steps that every value reaches and none does, of multipliers of either sign and of none; at the ends of 63 bits."""
    random = np.random.default_rng(shift)
    multiplier = np.array([0, 1, -1, 3, -7, 2**20 + 1, -(2**22), 5, -5, 11, 2, -2], dtype=np.int32)
    multiplier = multiplier.clip(-(2**20), 2**20) if shift == 0 else multiplier
    for joined in (False, True):
        net = Builder((12, 3, 4), 6)
        sums = net.conv(12, 1, 2)
        net.add(Requantize((sums,), shift, multiplier, np.full(12, offset, np.int64)), 100.0)
        if joined:
            net.channels([*range(8)])
            net.concat(
                net.last,
                net.conv(8, 3, 1, padding=1, at=0),
                net.add(Requantize((sums,), 3, multiplier, np.full(12, 9)), 9.0),
            )
        channels = net.values[-1].shape[0]
        steps = np.sort(random.integers(-40, 40, (channels, 2**N)), axis=1).astype(np.int32)
        steps[0, 0], steps[1, -1], steps[2], steps[3] = ALWAYS, NEVER, ALWAYS, NEVER
        sign = np.where(np.arange(channels) % 3, -1, 1).astype(np.int8)
        net.add(Threshold((net.last,), DiscreteSpace(N), steps, sign), 1.0)
        net.conv(5, 3, 1, padding=1)
        program = finished(net)
        assert_agrees(program, programs.batch(program, 5))


@pytest.mark.parametrize("N", [0, 1, 2])
def test_thresholds_of_values_that_are_requantized_and_joined_several_times(N):
    """As in a DenseNet, where every layer has thresholds of its own; parts that are whole bytes and parts that are not."""
    for growth in (8, 5):
        net = Builder((2, 6, 5), N)
        parts = [net.conv(growth, 3, 1, padding=1)]
        for _ in range(3):
            every = [net.requantize(100, at=part) for part in parts]
            if len(every) > 1:
                net.concat(*every)
            net.threshold(N)
            parts.append(net.conv(growth, 3, 1, padding=1))
        net.concat(*parts)
        program = finished(net)
        steps = Engine(program).steps
        assert ("requantize" in steps) == (growth == 5)
        assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("N", [None, 0, 1, 2, 7])
def test_values_within_others(N):
    """Slices, what is padded once and twice, and slices of that, by everything that reads them."""
    for channels, first in ((24, 8), (24, 16), (40, 0)):
        net = Builder((channels, 5, 6), N)
        net.channels([*range(first, first + 8)])
        net.pad((1, 0), (0, 2))
        net.pad((0, 2), (1, 1))
        net.channels([*range(8)])
        whole = net.last
        joined = []
        for groups in (1, 8):
            net.conv(8, 3, 1, padding=2, groups=groups, at=whole)
            joined.append(net.threshold(1))
        net.max_pool(2, padding=1, at=whole)
        joined.append(net.conv(8, 2, 2))
        net.sum_pool(3, 1, padding=2, at=whole)
        joined.append(net.conv(8, 1, 1))
        ends = []
        for part in joined:
            net.channels([*range(8)]) if part == net.last else None
            net.sum_pool(net.values[part].shape[1:], at=part)
            ends.append(net.flatten())
        net.add(Flatten((whole,)), 1.0)
        net.concat(*ends, net.last)
        program = finished(net)
        assert "pad" not in Engine(program).steps
        assert_agrees(program, programs.batch(program, 3))


def test_one_element():
    net = Builder((1,), 1)
    net.dense(1)
    net.threshold(1)
    assert_agrees(net.program(), np.array([[0], [1], [2]], dtype=np.uint8))


@pytest.mark.parametrize("N", [0, 1, 2, 4])
@pytest.mark.parametrize("pool", ["none", "before", "after"])
def test_thresholds_at_their_ties(N, pool):
    """Steps at every value the sums take, with both signs, and constant channels; pooling on either side."""
    net = Builder((4, 6, 6), 1, seed=5)
    net.conv(40, 1)  # sums -4..4
    if pool == "before":
        net.max_pool(2)
    size, random = 2**N, np.random.default_rng(0)
    steps = np.sort(random.integers(-5, 6, (40, size)), axis=1)
    steps[0], steps[1], steps[2, 0], steps[3, -1] = ALWAYS, NEVER, ALWAYS, NEVER
    sign = np.where(np.arange(40) % 2, -1, 1).astype(np.int8)
    net.add(Threshold((net.last,), DiscreteSpace(N), steps.astype(np.int32), sign), 1.0)
    if pool == "after":
        net.max_pool(3, 2, padding=1, ceil_mode=True)
    assert_agrees(finished(net), programs.batch(net, 3))


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (4, 8), (9, 6), (13, 18)])
@pytest.mark.parametrize("N", [0, 1, 3, 7])
def test_pools_of_cells_belong_to_the_convolution(size, N):
    """2 x 2 pools before thresholds, of odd and even extents, for every form of output and rest of channels."""
    for channels, out, kernel, stride, ceil_mode in ((33, 40, 3, 1, False), (5, 17, 3, 1, True), (70, 32, 2, 2, False)):
        net = Builder((channels, size[0] * stride, size[1] * stride), 1, seed=out)
        net.conv(out, kernel, stride=stride, padding=kernel // 2)
        whole = all(extent % 2 == 0 for extent in net.values[-1].shape[1:])
        net.max_pool(2, ceil_mode=ceil_mode)
        net.threshold(N)
        program = finished(net)
        assert ("max-pool" in Engine(program).steps) == (ceil_mode and not whole)
        assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("N", [0, 1, 3])
def test_max_pool_windows(ceil_mode, N):
    for kernel, stride, padding, dilation in [(2, 2, 0, 1), (3, 2, 1, 1), ((2, 3), (1, 4), (1, 0), 2), (5, 5, 2, 1)]:
        net = Builder((70, 11, 12), N)
        net.max_pool(kernel, stride, padding, dilation, ceil_mode)
        assert_agrees(finished(net), programs.batch(net, 2))


def test_a_value_with_many_readers():
    """One buffer serves different paddings, forms of weights, a pool, a sum and a flatten."""
    net = Builder((3, 8, 8), seed=2)
    net.conv(12, 3, padding=1)
    start = net.threshold(1)
    a = net.conv(12, 5, 1, padding=2, at=start)
    b = net.conv(12, 3, 3, padding=1, at=start)
    c = net.max_pool(3, 1, padding=1, at=start)
    net.plus(net.plus(a, b, (2, -1)), c, (1, 7))
    net.threshold(2)
    assert_agrees(finished(net), programs.batch(net, 3))


def test_thresholds_on_every_feature_of_a_flattened_value():
    net = Builder((5, 4, 3), 1)
    net.conv(6, 2)
    net.flatten()
    net.threshold(1)
    net.dense(7)
    assert_agrees(net.program(), programs.batch(net, 3))


def test_flattened_for_dense_layers_and_another():
    net = Builder((5, 4, 3), 1)
    flat = net.flatten()
    net.threshold(1)
    a = net.dense(4)
    b = net.dense(4, at=flat)
    net.plus(a, b)
    assert_agrees(net.program(), programs.batch(net, 3))


def test_scale_rounds_product_and_sum_apart():
    """A fused multiply-add would give other last bits."""
    random = np.random.default_rng(0)
    scale, bias = (random.normal(0, 1, 300).astype(np.float32) for _ in range(2))
    program = Program(Input((300,)), (Scale((0,), scale, bias),), tuple(map(str, range(300))))
    assert_agrees(program, programs.batch(program, 20))
