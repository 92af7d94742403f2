"""Max-pooling with small saved places is PyTorch's, bit for bit."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gxnor import native
from gxnor.nn import pack_saved_activations, pooling

GEOMETRIES = [
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), False),
    ((2, 3), (1, 2), (0, 1), (2, 1), False),
    ((3, 3), (3, 3), (0, 0), (1, 1), True),
    ((16, 16), (1, 1), (8, 8), (1, 1), False),
    ((1, 1), (1, 1), (0, 0), (1, 1), False),
    ((3, 2), (2, 2), (1, 1), (2, 1), True),
]
FORMATS = [torch.contiguous_format, torch.channels_last]


def contents(shape):
    """Ties, numbers, infinities and NaN, all equal, all zero of both signs."""
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    odd = numbers.clone()
    odd.view(-1)[::3], odd.view(-1)[1::7], odd.view(-1)[::11] = -torch.inf, torch.inf, torch.nan
    yield from (numbers, numbers.round(), odd, torch.full(shape, -torch.inf), torch.zeros(shape), -torch.zeros(shape))


def same_bits(a, b):
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_values_and_gradients_are_pytorch_s(geometry, format, instruction_set, implementation):
    for shape in ((3, 5, 19, 18), (1, 1, 4, 4), (2, 17, 5, 4)):
        for x in contents(shape):
            x = x.to(memory_format=format).requires_grad_()
            y = F.max_pool2d(x, *geometry)
            dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(memory_format=format)
            (expected,) = torch.autograd.grad(y, x, dy)
            with pack_saved_activations():
                again = F.max_pool2d(x, *geometry)
            assert "_MaxPool2d" in again.grad_fn.name()
            (dx,) = torch.autograd.grad(again, x, dy)
            assert again.is_contiguous(memory_format=format) and dx.is_contiguous(memory_format=format)
            assert same_bits(again.detach(), y.detach()) and same_bits(dx, expected)


def test_a_gradient_in_another_memory_format(implementation):
    x = torch.randn(2, 3, 8, 6).to(memory_format=torch.channels_last).requires_grad_()
    dy = torch.randn(2, 3, 4, 3)
    with pack_saved_activations():
        (dx,) = torch.autograd.grad(F.max_pool2d(x, 2), x, dy)
    assert torch.equal(dx, torch.autograd.grad(F.max_pool2d(x, 2), x, dy)[0])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_places_are_those_of_the_reference(threads):
    if native.library() is None:
        pytest.skip("the native library is not built")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    for geometry, format in itertools.product(GEOMETRIES, FORMATS):
        for x in contents((40, 3, 19, 18)):
            x = x.to(memory_format=format)
            y, place = pooling.forward_reference(x, *geometry)
            assert place.dtype == torch.uint8
            for mine, theirs in zip(pooling._forward(native.library(), x, *geometry), (y, place), strict=True):
                assert torch.equal(mine.nan_to_num(7), theirs.nan_to_num(7))
    torch.set_num_threads(before)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(17, 1, 8), nn.MaxPool2d(2, return_indices=True)])
def test_what_has_no_byte_for_its_places_is_left_to_pytorch(pool):
    with pack_saved_activations():
        y = pool(torch.randn(1, 1, 20, 20, requires_grad=True))
    y = y[0] if pool.return_indices else y
    assert "_MaxPool2d" not in y.grad_fn.name()


def test_a_window_that_does_not_fit_is_an_error():
    with pack_saved_activations(), pytest.raises(RuntimeError, match="pad should be"):
        F.max_pool2d(torch.randn(1, 1, 4, 4, requires_grad=True), 2, 2, 2)
    with pack_saved_activations(), pytest.raises(RuntimeError, match="too small"):
        F.max_pool2d(torch.randn(1, 1, 2, 2, requires_grad=True), 3)
