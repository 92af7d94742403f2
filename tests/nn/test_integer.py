"""Rounded gradients and products of integers: the kernels beside the reference, and the reference beside plain sums."""

import pytest
import torch

from gxnor import native
from gxnor.nn import integer, integer_kernels
from gxnor.nn.integer import Geometry

SHAPES = [(1, 1), (3, 1), (1, 5), (2, 3, 4, 5), (17, 1, 1, 33), (5, 7, 3, 1), (3, 9, 11, 130), (2, 40, 40, 16)]
CASES = {  # n, (h, w), channels, outputs, kernel, stride, padding, dilation, groups
    "dense": (7, (1, 1), 37, 19, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "one value": (1, (1, 1), 1, 1, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "3x3": (3, (8, 9), 16, 32, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "5x5, valid": (2, (12, 7), 33, 5, (5, 5), (1, 1), (0, 0), (1, 1), 1),
    "5x5, in eights": (2, (9, 7), 24, 40, (5, 5), (1, 2), (2, 0), (1, 1), 1),
    "dense, in eights": (9, (1, 1), 136, 35, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "1d": (4, (1, 23), 5, 6, (1, 4), (1, 2), (0, 3), (1, 1), 1),
    "strided, what is left over": (3, (10, 11), 6, 8, (3, 2), (3, 2), (1, 0), (1, 1), 1),
    "strided rows": (3, (11, 9), 2, 20, (3, 5), (2, 1), (1, 2), (1, 2), 1),
    "dilated": (2, (13, 12), 4, 8, (3, 3), (1, 1), (2, 3), (2, 3), 1),
    "grouped": (2, (6, 6), 12, 18, (3, 3), (2, 1), (1, 1), (1, 1), 3),
    "a group each": (3, (7, 5), 8, 8, (3, 3), (1, 1), (1, 1), (1, 1), 8),
    "kernel beyond the image": (2, (2, 3), 3, 4, (5, 5), (1, 1), (3, 3), (1, 1), 1),
    "padding beyond the kernel": (2, (3, 3), 3, 4, (1, 2), (2, 2), (2, 3), (1, 1), 1),
}
BOUNDS = [(1, 1, 7), (1, 1, 31), (2, 4, 127), (7, 1, 1), (128, 64, 127), (64, 2, 15)]  # of x, W and q


def make(name, bounds):
    """x, W, q and their geometry, with the largest magnitudes at both ends."""
    n, size, channels, outputs, kernel, stride, padding, dilation, groups = CASES[name]
    g = Geometry(stride, padding, dilation, groups, *bounds)
    shapes = [(n, *size, channels), (outputs, *kernel, channels // groups)]
    shapes.append(integer_kernels.output_shape(*map(torch.Size, shapes), g))
    generator = torch.Generator().manual_seed(len(name))
    tensors = []
    for shape, bound in zip(shapes, bounds, strict=True):
        t = torch.randint(-bound, min(bound, 127) + 1, shape, generator=generator)
        t.view(-1)[0], t.view(-1)[-1] = min(bound, 127), -bound
        tensors.append(t.to(torch.int8))
    return *tensors, g


def plain_sums(x, w, g):
    """Of int64, position by position."""
    n, height, width, _ = x.shape
    outputs, rows, columns, channels = w.shape
    y = torch.zeros(integer_kernels.output_shape(x.shape, w.shape, g), dtype=torch.int64)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            for a in range(rows):
                for b in range(columns):
                    row = i * g.stride[0] - g.padding[0] + a * g.dilation[0]
                    column = j * g.stride[1] - g.padding[1] + b * g.dilation[1]
                    if 0 <= row < height and 0 <= column < width:
                        values = x[:, row, column].long().view(n, g.groups, 1, channels)
                        weights = w[:, a, b].long().view(1, g.groups, outputs // g.groups, channels)
                        y[:, i, j] += (values * weights).sum(-1).view(n, outputs)
    return y


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("name", CASES)
def test_the_reference_gives_plain_sums_and_their_derivatives(name, bounds):
    x, w, q, g = make(name, bounds)
    y = plain_sums(x, w, g)
    assert torch.equal(integer.sums(x, w, g).long(), y)
    # <q, x * W> is linear in x and in W, so its derivatives are the two products with q
    total, n = (q.long() * y).sum(), x.shape[0]
    dx = integer.input_gradient(q, w, torch.ones(n), x.shape, g)
    dw = integer.weight_gradient(q, x, torch.ones(w.shape[0]), w.shape, g)
    assert (dx.long() * x.long()).sum() == total and (dw.long() * w.long()).sum() == total
    assert torch.equal(integer.input_gradient(q, w, torch.arange(n) / 7, x.shape, g)[-1], dx[-1] * ((n - 1) / 7))


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("name", CASES)
def test_the_kernels_agree_with_the_reference(name, bounds, instruction_set):
    _needs_kernels()
    x, w, every, g = make(name, bounds)
    per_sample, per_channel = torch.rand(x.shape[0]), torch.rand(w.shape[0])
    few = every * (torch.rand(every.shape, generator=torch.Generator().manual_seed(0)) < 0.05)
    for threads, q in ((1, every), (3, every), (1, few), (3, few)):
        with _threads(threads):
            assert torch.equal(integer_kernels.sums(x, w, g), integer.sums(x, w, g))
            gradients = [
                (module.input_gradient(q, w, per_sample, x.shape, g),
                 module.weight_gradient(q, x, per_channel, w.shape, g))
                for module in (integer, integer_kernels)
            ]  # fmt: skip
            for a, b in zip(*gradients, strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize("per", ["sample", "channel"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rounding_agrees_with_the_reference(shape, per, instruction_set):
    _needs_kernels()
    torch.manual_seed(0)
    for dy in (torch.randn(shape), torch.zeros(shape), torch.full(shape, -3.0), torch.randn(shape) * 1e-42,
               torch.randn(shape) * (torch.rand(shape) < 0.1) * 1e30):  # fmt: skip
        for bits in range(2, 9):
            for threads in (1, 3):
                with _threads(threads):
                    q, scale = integer_kernels.quantize(dy, bits, -bits, per)
                expected, expected_scale = integer.quantize(dy, bits, -bits, per)
                assert torch.equal(q, expected) and torch.equal(scale, expected_scale)


@pytest.fixture(params=["kernels", "reference"])
def quantize(request):
    if request.param == "kernels":
        _needs_kernels()
        return integer_kernels.quantize
    return integer.quantize


@pytest.mark.parametrize("per", ["sample", "channel"])
@pytest.mark.parametrize("bits", [2, 6])
def test_rounding_is_unbiased_and_one_step_wide(bits, per, quantize):
    dy = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    top, dims, repeats = 2 ** (bits - 1) - 1, (1, 2, 3) if per == "sample" else (0, 1, 2), 500
    view = (-1, 1, 1, 1) if per == "sample" else (1, 1, 1, -1)
    mean = torch.zeros_like(dy)
    for key in range(repeats):
        q, scale = quantize(dy, bits, key, per)
        assert torch.equal(scale, dy.abs().amax(dims) / top) and q.abs().amax() == top
        values = q * scale.view(view)
        assert ((values - dy).abs() < scale.view(view) * 1.0001).all()
        mean += values / repeats
    # the rounding error of one draw deviates by at most half a step; 5 deviations of the mean
    assert ((mean - dy).abs() < 5 * 0.5 * scale.view(view) / repeats**0.5).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("per", ["sample", "channel"])
def test_a_gradient_that_is_not_finite_is_refused(value, per, quantize):
    dy = torch.zeros(3, 2, 2, 5)
    dy[1, 1, 0, 4] = value
    with pytest.raises(FloatingPointError):
        quantize(dy, 6, 0, per)


def test_the_largest_never_leaves_the_range(quantize):
    """Scales whose inverse is rounded up, and draws just below 1."""
    dy = torch.linspace(1, 2, 20000)[:, None].repeat(1, 50)
    dy[:, 1::2] *= -1
    for bits in (2, 6, 8):
        q, _ = quantize(dy, bits, 5)
        top = 2 ** (bits - 1) - 1
        assert q.max() == top and q.min() == -top


def _needs_kernels():
    if native.library() is None:
        pytest.skip("the native library is not built")


class _threads:
    def __init__(self, count):
        self.count = count

    def __enter__(self):
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.count)

    def __exit__(self, *exception):
        torch.set_num_threads(self.before)
