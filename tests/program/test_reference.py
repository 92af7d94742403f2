"""The interpreter against loops that nobody can misread, and against PyTorch and SciPy, where integers are exact."""

import itertools

import numpy as np
import pytest
from scipy.signal import correlate

from benchmarks.programs import batch, cifar, mnist, one_d, random_program, residual, two_heads
from gxnor.errors import GxnorError
from gxnor.program import (
    ALWAYS,
    NEVER,
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Pad,
    Program,
    Requantize,
    Scale,
    StateTensor,
    SumPool,
    Threshold,
    Upsample,
    Value,
    reference,
)
from gxnor.space import DiscreteSpace

# extents, kernel, stride, padding, dilation
WINDOWS = [
    ((1,), (1,), (1,), (0,), (1,)),
    ((9,), (3,), (1,), (0,), (1,)),
    ((9,), (3,), (2,), (1,), (1,)),
    ((10,), (4,), (3,), (2,), (2,)),
    ((8,), (2,), (5,), (1,), (3,)),
    ((1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    ((5, 7), (3, 2), (1, 1), (0, 0), (1, 1)),
    ((5, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    ((6, 9), (2, 3), (2, 3), (1, 0), (1, 1)),
    ((7, 5), (2, 3), (3, 1), (1, 2), (3, 2)),
    ((4, 4), (4, 4), (4, 4), (0, 0), (1, 1)),
]


def integers(seed, *shape, low=-9, high=9):
    return np.random.default_rng(seed).integers(low, high, shape, endpoint=True, dtype=np.int32)


def state_tensor(N, *shape, seed=0):
    space = DiscreteSpace(N)
    return StateTensor.from_indices(space, space.random(shape, np.random.default_rng(seed)))


def taps(at, extents, kernel, stride, padding, dilation):
    """Every kernel position and where it falls in the input, for the window at `at`; None in the padding."""
    for k in itertools.product(*map(range, kernel)):
        where = tuple(a * s - p + d * j for a, s, p, d, j in zip(at, stride, padding, dilation, k, strict=True))
        yield k, where if all(0 <= w < n for w, n in zip(where, extents, strict=True)) else None


def conv_by_loops(x, weight, counts, stride, padding, dilation, groups):
    per_group, fan = len(weight) // groups, weight.shape[1]
    out = np.zeros((len(x), len(weight), *counts), dtype=np.int64)
    for b, o, *at in np.ndindex(*out.shape):
        for i in range(fan):
            for k, where in taps(at, x.shape[2:], weight.shape[2:], stride, padding, dilation):
                if where is not None:
                    channel = o // per_group * fan + i
                    out[(b, o, *at)] += int(weight[(o, i, *k)]) * int(x[(b, channel, *where)])
    return out


def pool_by_loops(x, counts, kernel, stride, padding, dilation, reduce):
    out = np.zeros((*x.shape[:2], *counts), dtype=np.int64)
    for b, c, *at in np.ndindex(*out.shape):
        seen = taps(at, x.shape[2:], kernel, stride, padding, dilation)
        out[(b, c, *at)] = reduce([int(x[(b, c, *where)]) for _, where in seen if where is not None])
    return out


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("N", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("window", WINDOWS)
def test_conv_equals_loops(window, N, groups):
    extents, kernel, stride, padding, dilation = window
    weight = state_tensor(N, 8, 4 // groups, *kernel, seed=N)
    layer = Conv((0,), weight, stride, padding, dilation, groups)
    x = integers(N, 2, 4, *extents)
    shape = layer.infer(Value(x.shape[1:], 9)).shape
    got = reference.step(layer, x)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, conv_by_loops(x, weight.levels(), shape[1:], stride, padding, dilation, groups))


def test_conv_equals_scipy_on_pixels():
    weight = state_tensor(1, 3, 2, 5, 4)
    x = integers(0, 1, 2, 17, 13, low=-255, high=255)
    got = reference.step(Conv((0,), weight, (1, 1), (0, 0), (1, 1)), x)
    for o in range(3):
        expected = sum(correlate(x[0, i], weight.levels()[o, i].astype(int), "valid") for i in range(2))
        np.testing.assert_array_equal(got[0, o], expected)


def test_the_largest_sums_are_exact():
    """Far beyond what float32 holds."""
    space = DiscreteSpace(7)
    weight = StateTensor.from_indices(space, np.full((1, 1001), 128, dtype=np.uint8))
    x = np.full((1, 1001), 33_333, dtype=np.int32)
    x[0, 0] = 1
    assert reference.step(Dense((0,), weight), x).tolist() == [[64 * (1000 * 33_333 + 1)]]


@pytest.mark.parametrize("N", [0, 1, 2, 3, 4])
def test_dense_equals_integer_matmul(N):
    weight = state_tensor(N, 5, 7)
    x = integers(N, 3, 7)
    np.testing.assert_array_equal(reference.step(Dense((0,), weight), x), x @ weight.levels().astype(np.int32).T)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_max_pool_equals_loops_and_torch(window, ceil_mode):
    torch = pytest.importorskip("torch")
    extents, kernel, stride, padding, dilation = window
    padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
    layer = MaxPool((0,), kernel, stride, padding, dilation, ceil_mode)
    x = integers(0, 2, 3, *extents, low=-9, high=-1)  # all negative: a padding of 0 would win
    got = reference.step(layer, x)
    assert got.shape[1:] == layer.infer(Value(x.shape[1:], 9)).shape
    np.testing.assert_array_equal(got, pool_by_loops(x, got.shape[2:], kernel, stride, padding, dilation, max))
    pool = torch.nn.functional.max_pool1d if len(extents) == 1 else torch.nn.functional.max_pool2d
    expected = pool(torch.from_numpy(x).float(), kernel, stride, padding, dilation, ceil_mode)
    np.testing.assert_array_equal(got, expected.numpy())


@pytest.mark.parametrize(
    "n,kernel,stride,padding", list(itertools.product([3, 4, 5, 6], [2, 3, 4], [1, 2, 3, 4], [0, 1, 2]))
)
def test_cut_windows_are_those_of_torch(n, kernel, stride, padding):
    torch = pytest.importorskip("torch")
    x = integers(n, 1, 1, n)
    layer = MaxPool((0,), (kernel,), (stride,), (padding,), (1,), True)
    try:
        expected = torch.nn.functional.max_pool1d(torch.from_numpy(x).float(), kernel, stride, padding, 1, True)
    except RuntimeError:
        with pytest.raises(GxnorError):
            layer.infer(Value((1, n), 9))
    else:
        assert layer.infer(Value((1, n), 9)).shape == tuple(expected.shape[1:])
        np.testing.assert_array_equal(reference.step(layer, x), expected.numpy())


@pytest.mark.parametrize("window", WINDOWS)
def test_sum_pool_equals_loops(window):
    extents, kernel, stride, padding, _ = window
    layer = SumPool((0,), kernel, stride, padding)
    x = integers(0, 2, 3, *extents)
    got = reference.step(layer, x)
    assert got.dtype == np.int32 and got.shape[1:] == layer.infer(Value(x.shape[1:], 9)).shape
    ones = (1,) * len(extents)
    np.testing.assert_array_equal(got, pool_by_loops(x, got.shape[2:], kernel, stride, padding, ones, sum))


@pytest.mark.parametrize("N", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("extents", [(), (5,), (3, 2)])
def test_threshold_equals_its_definition(N, extents):
    space, rng = DiscreteSpace(N), np.random.default_rng(N)
    steps = np.sort(rng.integers(-9, 9, (6, space.size - 1), dtype=np.int32), axis=1)
    steps[0], steps[1], steps[2, 0], steps[2, -1] = ALWAYS, NEVER, ALWAYS, NEVER
    sign = np.array([1, -1, 1, -1, -1, 1], dtype=np.int8)
    x = integers(1, 4, 6, *extents, low=-12, high=12)
    got = reference.step(Threshold((0,), space, steps, sign), x)
    assert got.dtype == np.int32
    for b, c, *at in np.ndindex(*x.shape):
        reached = sum(int(sign[c]) * int(x[(b, c, *at)]) >= int(t) for t in steps[c])
        assert got[(b, c, *at)] == space.levels[reached]
    assert (got[:, 0] == space.levels[-1]).all() and (got[:, 1] == space.levels[0]).all()


def test_the_extremes_decide_constant_channels_even_for_the_largest_sums():
    steps = np.array([[ALWAYS], [NEVER]], dtype=np.int32)
    layer = Threshold((0,), DiscreteSpace(0), steps, np.array([-1, -1], dtype=np.int8))
    x = np.array([[NEVER - 1] * 2, [-(NEVER - 1)] * 2], dtype=np.int32)
    assert reference.step(layer, x).tolist() == [[1, -1], [1, -1]]


def test_add_flatten_and_scale():
    a, b = integers(0, 2, 3, 2, 2), integers(1, 2, 3, 2, 2)
    np.testing.assert_array_equal(reference.step(Add((0, 1), (3, -2)), a, b), 3 * a - 2 * b)
    np.testing.assert_array_equal(reference.step(Flatten((0,)), a), a.reshape(2, 12))
    scale, bias = np.array([0.1, -3], dtype=np.float32), np.array([1, 1e-3], dtype=np.float32)
    x = np.array([[7, -5]], dtype=np.int32)
    got = reference.step(Scale((0,), scale, bias), x)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [[np.float32(7) * scale[0] + bias[0], np.float32(-5) * scale[1] + bias[1]]])


def test_pixels_enter_as_odd_integers_around_zero():
    x = np.array([[[[0, 127, 128, 255]]]], dtype=np.uint8)
    assert Input((1, 1, 4)).integers(x).tolist() == [[[[-255, -1, 1, 255]]]]


def test_states_enter_as_levels():
    assert Input((3,), DiscreteSpace(1)).integers(np.array([[0, 1, 2]], dtype=np.uint8)).tolist() == [[-1, 0, 1]]
    assert Input((2,), DiscreteSpace(0)).integers(np.array([[0, 1]], dtype=np.uint8)).tolist() == [[-1, 1]]


def test_integers_enter_as_they_are():
    x = np.array([[-255, 1]], dtype=np.int16)
    assert Input((2,)).integers(x).tolist() == [[-255, 1]]


@pytest.mark.parametrize(
    "x,message",
    [
        (np.zeros((2, 4), dtype=np.uint8), r"shape \(batch, 3\), got \(2, 4\)"),
        (np.zeros(3, dtype=np.uint8), r"shape \(batch, 3\), got \(3,\)"),
        (np.zeros((2, 3)), "uint8 or signed integers, got float64"),
        (np.full((2, 3), 3, dtype=np.uint8), "state indices below 3, got 3"),
        (np.full((2, 3), 2), "integers among -1, 0 .. 1"),
    ],
)
def test_inputs_that_are_refused(x, message):
    with pytest.raises(GxnorError, match=message):
        Input((3,), DiscreteSpace(1)).integers(x)


def test_requantize_multiplies_adds_and_shifts_rounding_down():
    layer = Requantize(
        (0,), 4, np.array([3, -1, 2**31 - 1], dtype=np.int32), np.array([2, 0, -(2**32)], dtype=np.int64)
    )
    x = np.array([[-3, 5, 2], [1, -5, -7]], dtype=np.int32)
    expected = [[(a * m + o) // 16 for a, m, o in zip(row, (3, -1, 2**31 - 1), (2, 0, -(2**32)), strict=True)]
                for row in x.tolist()]  # fmt: skip
    got = reference.step(layer, x)
    assert got.dtype == np.int32 and got.tolist() == expected
    assert np.abs(got).max() <= layer.infer(Value((3,), 7)).bound == (7 * (2**31 - 1) + 2**32) // 16 + 1
    with pytest.raises(GxnorError, match="leave 63 bits"):
        layer.infer(Value((3,), 2**31 - 1))
    with pytest.raises(GxnorError, match="shift"):
        Requantize((0,), 63, layer.multiplier, layer.offset).infer(Value((3,), 7))


def test_layers_that_move_values_about():
    x = np.arange(12, dtype=np.int32).reshape(1, 2, 2, 3)
    assert reference.step(Channels((0,), np.array([1, 1, 0], dtype=np.int32)), x)[0, :, 0, 0].tolist() == [6, 6, 0]
    assert reference.step(Upsample((0,), (1, 2)), x)[0, 0].tolist() == [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]
    padded = reference.step(Pad((0,), (1, 0), (0, 2)), x)
    assert padded[0, 1].tolist() == [[0, 0, 0, 0, 0], [6, 7, 8, 0, 0], [9, 10, 11, 0, 0]]
    both = reference.step(Concat((0, 0, 0)), x, padded[:, :, 1:, :3], x)
    assert both.shape == (1, 6, 2, 3) and (both[:, 4:] == x).all()


def test_what_layers_that_move_values_keep_of_them():
    states, sums = Value((2, 3), 1, DiscreteSpace(1)), Value((4, 3), 9)
    assert Concat((0, 0)).infer(states, states) == Value((4, 3), 1, DiscreteSpace(1))
    assert Concat((0, 1)).infer(states, sums) == Value((6, 3), 9)
    assert Pad((0,), (1,), (0,)).infer(states) == Value((2, 4), 1, DiscreteSpace(1))
    assert Pad((0,), (1,), (0,)).infer(Value((2, 3), 1, DiscreteSpace(0))) == Value((2, 4), 1)  # which has no 0
    assert Upsample((0,), (3,)).infer(states) == Value((2, 9), 1, DiscreteSpace(1))
    assert Channels((0,), np.array([0], dtype=np.int32)).infer(states) == Value((1, 3), 1, DiscreteSpace(1))


@pytest.mark.parametrize("layer, values", [
    (Concat((0, 0)), (Value((2, 3), 1), Value((2, 4), 1))),
    (Concat((0,)), (Value((2, 3), 1),)),
    (Pad((0,), (), ()), (Value((2,), 1),)),
    (Pad((0,), (-1,), (0,)), (Value((2, 3), 1),)),
    (Upsample((0,), (0,)), (Value((2, 3), 1),)),
    (Channels((0,), np.array([2], dtype=np.int32)), (Value((2, 3), 1),)),
    (Channels((0,), np.array([], dtype=np.int32)), (Value((2, 3), 1),)),
])  # fmt: skip
def test_layers_that_do_not_fit_are_refused(layer, values):
    with pytest.raises(GxnorError):
        layer.infer(*values)


def test_a_program_by_hand():
    """Two pixels, a ternary layer, a threshold, logits: every number small enough to follow."""
    weight = StateTensor.from_indices(DiscreteSpace(1), np.array([[2, 0], [1, 2]], dtype=np.uint8))
    steps = np.array([[-100, 100], [-100, 100]], dtype=np.int32)
    program = Program(
        Input((2,)),
        (
            Dense((0,), weight),
            Threshold((1,), DiscreteSpace(1), steps, np.array([1, -1], dtype=np.int8)),
            Scale((2,), np.array([0.5, 0.25], dtype=np.float32), np.array([1, 0], dtype=np.float32)),
        ),
        ("left", "right"),
    )
    values = reference.trace(program, np.array([[200, 100], [0, 255]], dtype=np.uint8))
    assert [v.tolist() for v in values] == [
        [[145, -55], [-255, 255]],
        [[200, -55], [-510, 255]],
        [[1, 0], [-1, -1]],
        [[1.5, 0.0], [0.5, -0.25]],
    ]


@pytest.mark.parametrize("build", [mnist, residual, one_d, lambda N1, N2: cifar(N1, N2, width=8)])
@pytest.mark.parametrize("N1,N2", [(0, 0), (1, 1), (1, 0), (0, 1), (2, 3), (4, 4)])
def test_networks_run_within_their_bounds(build, N1, N2):
    program = build(N1, N2)
    check_trace(program)


@pytest.mark.parametrize("seed", range(60))
def test_any_program_runs_within_its_bounds(seed):
    check_trace(random_program(seed, every=seed % 2 == 0))


def test_several_outputs_are_several_logits():
    program = two_heads()
    x = batch(program, 3)
    values, logits = reference.trace(program, x), reference.run(program, x)
    assert list(logits) == ["head 1", "head 2", "head 3"]
    assert [each.shape for each in logits.values()] == [(3, 5), (3, 3, 6, 7), (3, 9, 6, 7)]
    for each, last in zip(logits.values(), values[-3:], strict=True):
        np.testing.assert_array_equal(each, last)


def check_trace(program):
    *values, logits = reference.trace(program, batch(program, 2))
    for known, value in zip(program.values, values, strict=False):
        assert value.dtype == np.int32 and value.shape[1:] == known.shape
        assert np.abs(value).max() <= known.bound
        if known.space is not None:
            assert np.isin(value, known.space.levels).all()
    shape = program.values[-1].shape
    assert logits.dtype == np.float32 and logits.shape == (2, *shape) and shape[0] == len(program.classes)
    assert reference.run(program, batch(program, 0)).shape == (0, *shape)
