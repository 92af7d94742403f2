"""The kernels of blocks that run as one in integer arithmetic, beside their reference."""

import contextlib
import itertools

import pytest
import torch

from gxnor import native
from gxnor.nn import integer, integer_block
from gxnor.nn import integer_kernels as kernels
from gxnor.nn.integer import Geometry
from gxnor.nn.integer_block import Phi, Pooled

needs_native = pytest.mark.skipif(native.library() is None, reason="the native library is not built")
PHIS = {
    "ternary": Phi(1, 0.5, 1.0, 0.5, "rectangular"),
    "binary": Phi(0, 0.5, 1.0, 0.5, "triangular"),
    "binary, rectangular": Phi(0, 0.5, 1.0, 0.7, "rectangular"),
    "nine states": Phi(3, 0.1, 1.5, 0.3, "rectangular"),
    "triangular": Phi(2, 0.25, 1.0, 0.5, "triangular"),
}
POOLS = {  # what it is of the images before, and their size
    "none": (None, None),
    "2x2": (((2, 2), (2, 2), (0, 0), (1, 1), False), (6, 8)),
    "3x2 with a rest": (((3, 2), (3, 2), (0, 0), (1, 1), False), (7, 9)),
    "padded, ceil_mode, gaps": (((2, 2), (3, 2), (1, 0), (1, 1), True), (7, 5)),
}
SHAPES = [(1, 1, 1, 2), (3, 1, 1, 33), (5, 9, 7, 3), (2, 3, 4, 300), (40, 4, 4, 16)]


def values(shape, seed=0):
    """s with values at and between the steps of phi, dy with zeros, and coefficients."""
    generator = torch.Generator().manual_seed(seed)
    s = torch.randint(-20, 21, shape, generator=generator).to(torch.int16)
    dy = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.8)
    c = torch.randn(5, shape[-1], generator=generator)
    c[0, ::2], c[1, ::2] = 0.125, 0.0
    return c.contiguous(), s, dy


@needs_native
@pytest.mark.parametrize("phi", PHIS.values(), ids=PHIS)
def test_kernels_without_a_pool_agree_with_the_reference(phi, instruction_set):
    for shape in SHAPES:
        c, s, dy = values(shape)
        assert torch.equal(kernels.block_states(c, s, phi), integer_block.states(c, s, phi))
        assert torch.equal(kernels.block_reduce(c, s, dy, phi), integer_block.reduce(c, s, dy, phi))
        for per, bits in itertools.product(("sample", "channel"), (2, 6, 8)):
            expected = integer_block.round_gradient(c, s, dy, phi, bits, 5, per)
            for a, b in zip(kernels.block_round(c, s, dy, phi, bits, 5, per), expected, strict=True):
                assert torch.equal(a, b)


@needs_native
@pytest.mark.parametrize("pool, size", POOLS.values(), ids=POOLS)
def test_kernels_with_a_pool_agree_with_the_reference(pool, size, instruction_set):
    for channels, outputs in ((1, 2), (5, 33), (16, 300)):
        generator = torch.Generator().manual_seed(channels)
        x = torch.randint(-1, 2, (3, *(size or (6, 7)), channels), generator=generator).to(torch.int8)
        w = torch.randint(-2, 3, (outputs, 3, 3, channels), generator=generator).to(torch.int8)
        g = Geometry((1, 1), (1, 1), (1, 1), 1, 1, 2, 31)
        s, place, totals = kernels.block_sums(x, w, g, pool)
        expected = integer_block.sums(x, w, g, pool)
        assert torch.equal(s, expected[0]) and torch.equal(totals, expected[2])
        assert place is None if pool is None else torch.equal(place, expected[1])
        c, _, dy = values(s.shape)
        for per in ("sample", "channel"):
            pooled = None if pool is None else Pooled(pool, place, x.shape[1:3])
            given = c, s, dy, PHIS["ternary"], 6, 7, per, pooled
            for a, b in zip(kernels.block_round(*given), integer_block.round_gradient(*given), strict=True):
                assert torch.equal(a, b)


@needs_native
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
@pytest.mark.parametrize(
    "pool, size", [of for of in POOLS.values() if of[0]], ids=[name for name in POOLS if POOLS[name][0]]
)
def test_products_of_a_pooled_gradient_are_those_of_the_whole_one(pool, size, share, instruction_set):
    """By events and, where these are too many or there are groups, by all values."""
    generator = torch.Generator().manual_seed(0)
    for n, channels, outputs, kernel, groups in (
        (1, 1, 2, (3, 3), 1),
        (30, 3, 70, (3, 3), 1),
        (3, 140, 33, (3, 3), 1),
        (2, 96, 300, (3, 3), 1),
        (5, 4, 6, (3, 3), 2),
        (2, 40, 9, (1, 1), 1),
    ):
        padding = tuple(k // 2 for k in kernel)
        g = Geometry((1, 1), padding, (1, 1), groups, 1, 1, 31)
        x = torch.randint(-1, 2, (n, *size, channels), generator=generator).to(torch.int8)
        w = torch.randint(-1, 2, (outputs, *kernel, channels // groups), generator=generator).to(torch.int8)
        after = (*kernels.pooled_size((n, *size, outputs), pool), outputs)
        _, place, _ = kernels.block_sums(x, w, g, pool)
        q = torch.randint(-31, 32, after, generator=generator) * (torch.rand(after, generator=generator) < share)
        q, pooled, scales = q.to(torch.int8), Pooled(pool, place, size), torch.rand(max(n, outputs))
        whole = pooled.whole(q)
        assert torch.equal(pooled.take(whole), q) and whole.count_nonzero() == q.count_nonzero()
        for count in (1, 3):
            with _threads(count):
                dx = kernels.input_gradient(q, w, scales[:n], x.shape, g, pooled)
                dw = kernels.weight_gradient(q, x, scales[:outputs], w.shape, g, pooled)
        assert torch.equal(dx, integer.input_gradient(whole, w, scales[:n], x.shape, g))
        assert torch.equal(dw, integer.weight_gradient(whole, x, scales[:outputs], w.shape, g))


def test_totals_are_exact_at_the_largest_sums(implementation):
    x, w = torch.full((50, 1, 1, 258), 127, dtype=torch.int8), torch.ones(2, 1, 1, 258, dtype=torch.int8)
    w[1] = -1
    s, _, totals = kernels.block_sums(x, w, Geometry((1, 1), (0, 0), (1, 1), 1, 127, 1, 31), None)
    assert s[0].flatten().tolist() == [32766, -32766]
    assert totals.tolist() == [[50 * 32766, -50 * 32766], [50 * 32766**2] * 2]


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_what_is_not_finite_is_refused(value, implementation):
    c, s, dy = values((3, 4, 4, 5))
    c[1], s[1] = 0.5, 0
    dy[1, 2, 3, 4] = value
    for per in ("sample", "channel"):
        with pytest.raises(FloatingPointError):
            kernels.block_round(c, s, dy, PHIS["ternary"], 6, 7, per)


@contextlib.contextmanager
def _threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
