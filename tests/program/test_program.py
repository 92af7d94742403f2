from dataclasses import replace as altered

import numpy as np
import pytest

from benchmarks.programs import cifar, mnist
from gxnor.errors import GxnorError
from gxnor.program import (
    Add,
    Conv,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Program,
    Scale,
    StateTensor,
    SumPool,
    Threshold,
    Value,
)
from gxnor.space import DiscreteSpace

TERNARY = DiscreteSpace(1)


def weight(*shape, N=1):
    return StateTensor.from_indices(DiscreteSpace(N), np.ones(shape, dtype=np.uint8))


def scale(inputs, classes=2):
    return Scale(inputs, np.ones(classes, dtype=np.float32), np.zeros(classes, dtype=np.float32))


def threshold(inputs, channels=2, steps=2):
    return Threshold(inputs, TERNARY, np.zeros((channels, steps), dtype=np.int32), np.ones(channels, dtype=np.int8))


def conv(inputs=(0,), shape=(2, 1, 3, 3), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    return Conv(inputs, weight(*shape), stride, padding, dilation, groups)


def small(*layers, shape=(1, 5, 5), classes=("a", "b")):
    return Program(Input(shape), layers, classes)


def test_state_tensor_round_trip_and_size():
    indices = TERNARY.random((3, 4, 5), np.random.default_rng(0))
    tensor = StateTensor.from_indices(TERNARY, indices)
    assert tensor.packed.nbytes == 15 and tensor.size == 60
    np.testing.assert_array_equal(tensor.indices(), indices)
    assert tensor.levels().dtype == np.int8
    np.testing.assert_array_equal(tensor.levels(), indices.astype(int) - 1)


@pytest.mark.parametrize("N", range(8))
def test_state_tensor_levels_are_those_of_the_space(N):
    space = DiscreteSpace(N)
    every = np.arange(space.size, dtype=np.uint8)
    np.testing.assert_array_equal(StateTensor.from_indices(space, every).levels(), space.levels)


def test_state_tensor_refuses_bytes_that_do_not_fit():
    with pytest.raises(ValueError, match="take 2 bytes"):
        StateTensor(TERNARY, (2, 4), np.zeros(3, dtype=np.uint8))
    with pytest.raises(ValueError, match="beyond the last"):
        StateTensor(TERNARY, (4,), np.array([255], dtype=np.uint8))


def test_values_of_the_papers_networks():
    assert [v.shape for v in mnist().values] == [
        (1, 28, 28), (32, 24, 24), (32, 12, 12), (32, 12, 12), (64, 8, 8), (64, 4, 4), (64, 4, 4),
        (1024,), (512,), (512,), (10,), (10,),
    ]  # fmt: skip
    assert sum(x.weight.size for x in mnist().layers if isinstance(x, Conv | Dense)) == 581_408
    net = cifar()
    assert sum(x.weight.size for x in net.layers if isinstance(x, Conv | Dense)) == 12_973_440
    assert net.largest_sum == 8192
    assert mnist().largest_sum == 255 * 25


def test_spaces_follow_states_through_pooling_and_flattening():
    layers = (conv(), threshold((1,)), MaxPool((2,), (2, 2), (1, 1), (0, 0), (1, 1)), Flatten((3,)))
    values = small(*layers, Dense((4,), weight(2, 8)), scale((5,))).values
    assert [v.space for v in values] == [None, None, TERNARY, TERNARY, TERNARY, None, None]
    assert [v.bound for v in values] == [255, 9 * 255, 1, 1, 1, 8, 8]


def test_bounds_cover_pools_and_sums():
    layers = (SumPool((0,), (2, 3), (1, 1), (0, 0)), Add((1, 1), (2, -3)))
    values = small(*layers, Flatten((2,)), Dense((3,), weight(2, 12, N=2)), scale((4,))).values
    assert [v.bound for v in values[:5]] == [255, 1530, 7650, 7650, 12 * 2 * 7650]


HEAD = (Flatten((0,)), Dense((1,), weight(2, 25)))

REFUSED = {
    "own output": ((Flatten((1,)), *HEAD[1:], scale((2,))), r"layer 1 \(Flatten\): expected inputs .* 0 to 0"),
    "later value": ((HEAD[0], Dense((3,), weight(2, 25)), scale((2,))), r"layer 2 \(Dense\): expected inputs"),
    "negative value": ((Flatten((-1,)), *HEAD[1:], scale((2,))), r"layer 1 \(Flatten\): expected inputs"),
    "bool value": ((Flatten((False,)), *HEAD[1:], scale((2,))), r"layer 1 \(Flatten\): expected inputs"),
    "list of inputs": ((Flatten([0]), *HEAD[1:], scale((2,))), r"layer 1 \(Flatten\): expected inputs as a tuple"),
    "too many inputs": ((Flatten((0, 0)), *HEAD[1:], scale((2,))), r"layer 1 \(Flatten\): expected 1 inputs, got 2"),
    "too few inputs": ((Add((0,), (1, 1)), *HEAD, scale((3,))), r"layer 1 \(Add\): expected 2 inputs, got 1"),
    "unused value": ((*HEAD, Dense((1,), weight(2, 25)), scale((2,))), "value 3 is used by no layer"),
    "dense on an image": ((Dense((0,), weight(2, 25)), scale((1,))), r"expects an input \(25,\), got \(1, 5, 5\)"),
    "dense weight of 4 dims": ((HEAD[0], Dense((1,), weight(2, 25, 1, 1)), scale((2,))), "weight of 2 dimensions"),
    "empty weight": ((HEAD[0], Dense((1,), weight(0, 25)), scale((2,))), "none empty"),
    "conv on features": ((HEAD[0], conv((1,), (2, 1)), scale((2,))), r"layer 2 \(Conv\): expected an input \(C, L\)"),
    "conv of wrong rank": ((conv(shape=(2, 1, 3)),), "weight of 4 dimensions"),
    "conv channels": ((conv(shape=(2, 3, 3, 3)),), "does not fit 1 channels"),
    "conv groups": ((conv(groups=2),), "in 2 groups does not fit"),
    "zero groups": ((conv(groups=0),), "groups as a tuple of integers from 1"),
    "kernel beyond input": ((conv(shape=(2, 1, 6, 6)),), "window of 6 does not fit an extent of 5"),
    "dilation beyond input": ((conv(dilation=(3, 3)),), "window of 7 does not fit"),
    "zero stride": ((conv(stride=(0, 1)),), "stride as a tuple of integers from 1"),
    "negative padding": ((conv(padding=(-1, 0)),), "padding as a tuple of integers from 0"),
    "float stride": ((conv(stride=(1.0, 1)),), "stride as a tuple of integers"),
    "one stride": ((conv(stride=(1,)),), "stride of 2 integers, got 1"),
    "huge padding": ((conv(padding=(2**16, 0)),), "padding as a tuple of integers from 0 to 65535"),
    "huge value": ((conv(padding=(65535, 65535)),), "more than 67108864 elements"),
    "half window of padding": (
        (MaxPool((0,), (3, 3), (1, 1), (2, 2), (1, 1)), *HEAD, scale((3,))),
        "padding of at most half the window, got 2",
    ),
    "windows in the padding": (
        (MaxPool((0,), (2, 2), (1, 1), (3, 3), (6, 6)), *HEAD, scale((3,))),
        "dilation of at most the extent 5",
    ),
    "ceil_mode 1": ((MaxPool((0,), (2, 2), (1, 1), (0, 0), (1, 1), 1),), "ceil_mode to be true or false"),
    "threshold shape": ((threshold((0,), 2), *HEAD, scale((3,))), r"thresholds as int32 \(1, 2\), got int32 \(2, 2\)"),
    "threshold steps": ((threshold((0,), 1, 3), *HEAD, scale((3,))), r"thresholds as int32 \(1, 2\), got"),
    "threshold list": ((altered(threshold((0,), 1), thresholds=[[0, 0]]),), "thresholds .* got list"),
    "threshold type": (
        (altered(threshold((0,), 1), thresholds=np.zeros((1, 2))),),
        "thresholds as int32 .* got float64",
    ),
    "falling thresholds": (
        (altered(threshold((0,), 1), thresholds=np.array([[1, 0]], dtype=np.int32)),),
        "thresholds that ascend",
    ),
    "sign of 0": (
        (altered(threshold((0,), 1), sign=np.zeros(1, dtype=np.int8)),),
        "signs of -1 and 1",
    ),
    "add of two shapes": ((conv(), Add((0, 1), (1, 1))), r"layer 2 \(Add\): .*one shape"),
    "add factors": ((Add((0, 0), (1, 1.5)),), "factors as a tuple of integers"),
    "sum too large": ((Add((0, 0), (2**30, 2**30)),), "could reach 547608330240 and leave int32"),
    "scale of nan": ((*HEAD, altered(scale((2,)), scale=np.array([1, np.nan], np.float32))), "finite scale"),
    "bias of infinity": ((*HEAD, altered(scale((2,)), bias=np.array([1, np.inf], np.float32))), "finite bias"),
    "scale too large": ((*HEAD, altered(scale((2,)), scale=np.full(2, 3e38, np.float32))), "range of float32"),
    "scale of doubles": ((*HEAD, altered(scale((2,)), scale=np.ones(2))), "scale as float32"),
}  # fmt: skip


@pytest.mark.parametrize("layers,message", REFUSED.values(), ids=REFUSED)
def test_layers_that_are_refused(layers, message):
    if not isinstance(layers[-1], Scale):
        layers = (*layers, scale((len(layers),)))
    with pytest.raises(GxnorError, match=message):
        small(*layers)


@pytest.mark.parametrize("layers", [(), HEAD, (*HEAD, scale((2,)), scale((3,))), (*HEAD, scale((2,)), Flatten((3,)))])
def test_a_program_ends_in_its_one_scale(layers):
    with pytest.raises(GxnorError, match="ends in its one Scale"):
        small(*layers)


def test_several_outputs_have_names_and_classes_of_their_own():
    layers = (*HEAD, scale((2,)), scale((2,)))
    program = Program(Input((1, 5, 5)), layers, ("a", "b", "yes", "no"), output_names=("letter", "answer"))
    assert [(of.name, of.number, of.classes) for of in program.outputs] == [
        ("letter", 3, ("a", "b")),
        ("answer", 4, ("yes", "no")),
    ]
    assert [of.name for of in small(*HEAD, scale((2,))).outputs] == ["logits"]


@pytest.mark.parametrize("layers, names, message", [
    ((*HEAD, scale((2,)), scale((2,))), ("a", "a"), "several that differ"),
    ((*HEAD, scale((2,))), ("a",), "several that differ"),
    ((*HEAD, scale((2,)), scale((2,))), ("a", "b", "c"), "as many as it has names"),
    ((*HEAD, scale((2,)), scale((3,))), ("a", "b"), "value 3 is logits"),
    ((*HEAD, scale((2,)), scale((2,))), ("a", "\n"), "names of outputs in printable"),
    ((*HEAD, scale((2,)), scale((2,))), ("a", 1), "names of outputs as text"),
])  # fmt: skip
def test_outputs_that_are_refused(layers, names, message):
    with pytest.raises(GxnorError, match=message):
        Program(Input((1, 5, 5)), layers, ("a", "b", "a", "b"), output_names=names)


@pytest.mark.parametrize("shape", [(), (1, 1, 1, 1), (0,), (-1, 5), (2.0,), ("a",), [1, 5, 5], None, (2**40,)])
def test_input_shapes_that_are_refused(shape):
    with pytest.raises(GxnorError, match=r"input|elements"):
        Program(Input(shape), (Flatten((0,)), scale((1,))), ("a", "b"))


@pytest.mark.parametrize("classes", [(), ("a",), ("a", "b", "c"), ("a", 1), ("a", "\x1b[2J"), ("a", "\ud800")])
def test_classes_that_are_refused(classes):
    with pytest.raises(GxnorError, match="class name"):
        small(*HEAD, scale((2,)), classes=classes)


def test_the_last_window_may_be_cut_only_in_ceil_mode():
    pool = MaxPool((0,), (2,), (2,), (0,), (1,))
    assert pool.infer(Value((1, 5), 1)).shape == (1, 2)
    assert altered(pool, ceil_mode=True).infer(Value((1, 5), 1)).shape == (1, 3)
