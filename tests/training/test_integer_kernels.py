"""The products of a training step in small integers: exact on every instruction set, for every geometry."""

import ctypes
import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F

from gxnor import native
from gxnor.nn.stream import uniform

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


@dataclasses.dataclass(frozen=True)
class Layer:
    n: int
    size: tuple[int, int]
    c_in: int
    c_out: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    x_bound: int = 1
    w_bound: int = 1
    q_bound: int = 15

    def geometry(self) -> tuple:
        return self.stride, self.padding, self.dilation, self.groups

    def out(self) -> tuple[int, ...]:
        axes = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in axes)

    def described(self) -> native.IntConv:
        shape = self.n, *self.size, self.c_in, *self.out(), self.c_out
        bounds = self.x_bound, self.w_bound, self.q_bound
        return native.IntConv(*shape, self.kernel, self.stride, self.padding, self.dilation, self.groups, *bounds)


def call(name: str, layer: Layer, *operands: torch.Tensor, threads: int = 1) -> int:
    pointers = [t.data_ptr() for t in operands]
    if name != "gxnor_int_conv_forward":
        pointers[1:1] = None, None  # no pool
    return getattr(native.library(), name)(ctypes.byref(layer.described()), *pointers, threads)


def levels(bound: int, how: str, *shape: int) -> torch.Tensor:
    """Random, zero, or all of them at one end."""
    low, high = -bound, min(bound, 127)
    if how == "random":
        return torch.randint(low, high + 1, shape, dtype=torch.int8)
    return torch.full(shape, {"zero": 0, "low": low, "high": high}[how], dtype=torch.int8)


def nchw(x: torch.Tensor) -> torch.Tensor:
    return x.double().permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


def check(layer: Layer, *hows: str, events: float = 1) -> None:
    """All three products against PyTorch's in float64, where sums of these integers are exact. `events`: the share of q that
    may be other than zero."""
    x_how, w_how, q_how = hows or ("random",) * 3
    x = levels(layer.x_bound, x_how, layer.n, *layer.size, layer.c_in)
    w = levels(layer.w_bound, w_how, layer.c_out, *layer.kernel, layer.c_in // layer.groups)
    q = levels(layer.q_bound, q_how, layer.n, *layer.out(), layer.c_out)
    q *= torch.rand(q.shape) < events
    scale_n, scale_o = torch.rand(layer.n), torch.rand(layer.c_out)
    y, dx, dw = (torch.full(t.shape, torch.nan) for t in (q, x, w))

    assert call("gxnor_int_conv_forward", layer, x, w, y) == 0
    assert torch.equal(y, nhwc(F.conv2d(nchw(x), nchw(w), None, *layer.geometry())).float())

    assert call("gxnor_int_conv_input", layer, q, w, scale_n, dx) == 0
    sums = nhwc(torch.nn.grad.conv2d_input(nchw(x).shape, nchw(w), nchw(q), *layer.geometry()))
    assert torch.equal(dx, sums.float() * scale_n.view(-1, 1, 1, 1))

    assert call("gxnor_int_conv_weight", layer, q, x, scale_o, dw) == 0
    sums = nhwc(torch.nn.grad.conv2d_weight(nchw(x), nchw(w).shape, nchw(q), *layer.geometry()))
    assert torch.equal(dw, sums.float() * scale_o.view(-1, 1, 1, 1))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("c_in", [1, 3, 5, 16, 17, 33, 70])
def test_every_number_of_channels(instruction_set, c_in):
    for c_out, n in ((1, 3), (5, 2), (16, 1), (33, 1), (67, 2)):
        check(Layer(n, (6, 5), c_in, c_out, (3, 3), padding=(1, 1)))
        check(Layer(n, (1, 1), c_in, c_out))


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (4, 2)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
def test_geometries(instruction_set, stride, padding, dilation):
    for kernel, groups in itertools.product(((3, 3), (2, 1), (1, 4), (5, 5)), (1, 2)):
        size = tuple(d * (k - 1) + e for d, k, e in zip(dilation, kernel, (5, 8), strict=True))
        check(Layer(2, size, 6, 10, kernel, stride, padding, dilation, groups))


@pytest.mark.parametrize("c_in, c_out, groups", [(5, 5, 5), (4, 12, 4), (66, 34, 2), (12, 20, 4)])
def test_groups(instruction_set, c_in, c_out, groups):
    check(Layer(2, (7, 5), c_in, c_out, (3, 3), padding=(1, 1), groups=groups))
    check(Layer(2, (7, 5), c_in, c_out, (2, 3), (2, 1), groups=groups))


BOUNDS = [
    (1, 1, 7),
    (1, 1, 31),
    (1, 1, 127),
    (2, 2, 15),
    (2, 1, 31),
    (8, 8, 15),
    (32, 64, 127),
    (128, 1, 15),
    (128, 64, 63),
]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_largest_sums(instruction_set, bounds):
    """All levels at one end, so many that sums of 16 bits must be emptied in time."""
    layers = Layer(2, (9, 8), 40, 18, (3, 3), padding=(1, 1)), Layer(3, (1, 1), 700, 20), Layer(300, (2, 2), 3, 4)
    for layer in layers:
        layer = dataclasses.replace(layer, **dict(zip(("x_bound", "w_bound", "q_bound"), bounds, strict=True)))
        check(layer)
        for hows in itertools.product(("low", "high"), repeat=3):
            check(layer, *hows)


def test_zeros_and_one_element(instruction_set):
    for hows in itertools.product(("zero", "random"), repeat=3):
        check(Layer(2, (5, 5), 20, 20, (3, 3), padding=(1, 1)), *hows)
        check(Layer(1, (1, 1), 1, 1), *hows)
    check(Layer(1, (1, 1), 1, 1, (3, 3), padding=(1, 1)))
    check(Layer(1, (1, 1), 3, 2, (3, 3), padding=(3, 3), stride=(2, 2)))


@pytest.mark.parametrize("events", [0, 0.01, 0.08])
def test_few_events(instruction_set, events):
    """Gradients most of which are zero are multiplied by other kernels."""
    for c_in, c_out, kernel in itertools.product((1, 3, 33, 140), (1, 9, 70), ((1, 1), (3, 3), (5, 2))):
        check(Layer(3, (6, 7), c_in, c_out, kernel, padding=(1, 0)), events=events)
    for c_in, *geometry in itertools.product((6, 38), ((1, 1), (2, 3)), ((0, 0), (4, 1)), ((1, 1), (2, 3))):
        check(Layer(40, (9, 10), c_in, 70, (3, 3), *geometry), events=events)
    for bounds, c_in in itertools.product(BOUNDS, (3, 35)):
        layer = Layer(300, (4, 5), c_in, 70, (3, 3), (1, 1), (1, 1), (1, 1), 1, *bounds)
        for hows in (("low", "low", "high"), ("high", "low", "low"), ("low", "high", "high")):
            check(layer, *hows, events=2 * events)


@pytest.mark.parametrize("size", [(4, 4), (7, 9), (12, 11)])
def test_many_positions(instruction_set, size):
    """More tiles, units and blocks than are taken at a time, and any number of threads."""
    layer = Layer(5, size, 70, 130, (3, 3), padding=(1, 1))
    check(layer)
    check(dataclasses.replace(layer, padding=(0, 2), q_bound=31))
    x, q = levels(1, "random", 5, *size, 70), levels(15, "random", 5, *layer.out(), 130)
    for sparse in (q, q * (torch.rand(q.shape) < 0.04)):
        results = [torch.empty(130, 3, 3, 70) for _ in range(3)]
        for dw, threads in zip(results, (1, 2, 7), strict=True):
            assert call("gxnor_int_conv_weight", layer, sparse, x, torch.ones(130), dw, threads=threads) == 0
            assert torch.equal(dw, results[0])
        results = [torch.empty(x.shape) for _ in range(3)]
        for dx, threads in zip(results, (1, 2, 7), strict=True):
            w = torch.ones(130, 3, 3, 70, dtype=torch.int8)
            assert call("gxnor_int_conv_input", layer, sparse, w, torch.ones(5), dx, threads=threads) == 0
            assert torch.equal(dx, results[0])


def test_sums_that_could_leave_32_bits_are_refused():
    large = Layer(1, (1, 1), 2**18, 1, x_bound=128, w_bound=64)
    x, w = torch.zeros(1, 1, 1, 2**18, dtype=torch.int8), torch.zeros(1, 1, 1, 2**18, dtype=torch.int8)
    y = torch.full((1,), 7.0)
    assert call("gxnor_int_conv_forward", large, x, w, y) == 1
    assert call("gxnor_int_conv_forward", dataclasses.replace(large, groups=5), x, w, y) == 1
    assert y.item() == 7.0
    wide = Layer(1, (1, 1), 1, 1, x_bound=128, q_bound=127)
    assert call("gxnor_int_conv_weight", wide, x, w, torch.ones(1), y) == 1  # pairs of products leave 16 bits


def quantize(dy: torch.Tensor, bits: int, per_channel: bool, key: int, threads: int = 1):
    """dy (samples, positions, channels); returns (status, q, scale)."""
    kernel = native.library().gxnor_int_quantize
    q = torch.full(dy.shape, -99, dtype=torch.int8)
    scale = torch.full((dy.shape[2] if per_channel else dy.shape[0],), torch.nan)
    status = kernel(dy.data_ptr(), *dy.shape, bits, per_channel, key, q.data_ptr(), scale.data_ptr(), threads)
    return status, q, scale


def quantize_reference(dy: torch.Tensor, bits: int, per_channel: bool, key: int):
    levels = 2 ** (bits - 1) - 1
    largest = dy.abs().amax(dim=(0, 1) if per_channel else (1, 2), keepdim=True)
    inverse = levels / largest
    nothing = inverse.isinf()
    y = dy * inverse.masked_fill(nothing, 0)
    q = torch.floor(y + uniform(key, dy.numel()).view(dy.shape)).clamp(-levels, levels)
    return q.to(torch.int8), (largest / levels).masked_fill(nothing, 0).flatten()


@pytest.mark.parametrize("per_channel", [False, True])
def test_quantize(instruction_set, per_channel):
    shapes = [(1, 1, 1), (3, 1, 1), (1, 7, 3), (2, 5, 17), (3, 16, 16), (7, 100, 33), (300, 1, 10), (2, 9000, 5)]
    for shape, bits in itertools.product(shapes, (2, 4, 5, 6, 8)):
        dy = torch.randn(shape) * torch.rand(shape[0], 1, shape[2]) ** 4
        dy[0, :, :1] = 0
        dy[-1, 0] = -dy[-1, 0].abs().max()
        status, q, scale = quantize(dy, bits, per_channel, bits << 60)
        expected = quantize_reference(dy, bits, per_channel, bits << 60)
        assert status == 0 and torch.equal(q, expected[0]) and torch.equal(scale, expected[1])


@pytest.mark.parametrize("value", [0.0, 1.0, -3e38, 1e-38, 1e-44])
def test_quantize_equal_values(instruction_set, value):
    for per_channel in (False, True):
        dy = torch.full((2, 150, 3), value)
        status, q, scale = quantize(dy, 5, per_channel, 7)
        assert status == 0
        if abs(value) < 1e-37:  # 15 / value is beyond float32
            assert not q.any() and not scale.any()
        else:
            assert torch.equal(q, (torch.sign(dy) * 15).to(torch.int8)) and (scale == abs(value) / 15).all()


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_quantize_refuses_what_is_not_finite(instruction_set, value):
    for at, per_channel in itertools.product((0, 1000, 2999), (False, True)):
        dy = torch.randn(3, 100, 10)
        dy.view(-1)[at] = value
        status, q, _ = quantize(dy, 5, per_channel, 7)
        assert status == 1 and (q == -99).all()


def test_rounding_is_unbiased(instruction_set):
    dy = torch.randn(1, 1, 64).repeat(1, 20000, 1)
    status, q, scale = quantize(dy, 4, False, 5)
    mean = (q.double() * scale).mean(dim=1)
    assert status == 0 and ((mean - dy[:, 0]).abs() < 5 * scale * 0.5 / 20000**0.5).all()
