"""The products of `gxnor.nn.integer` and the passes of `gxnor.nn.integer_block` by the native kernels where they apply,
else by the reference: the same bits."""

from __future__ import annotations

import ctypes
import functools

import torch
import torch.nn.functional as F

from gxnor import native
from gxnor.nn import integer, integer_block
from gxnor.nn.activation import describe as describe_phi
from gxnor.nn.integer import Geometry
from gxnor.nn.integer_block import Phi, Pool, Pooled


def quantize(dy: torch.Tensor, bits: int, key: int, per: str = "sample") -> tuple[torch.Tensor, torch.Tensor]:
    """`integer.quantize`."""
    library = native.library() if dy.device.type == "cpu" else None
    if library is None or not dy.numel():
        return integer.quantize(dy, bits, key, per)
    samples, channels = dy.shape[0], dy.shape[-1]
    q = torch.empty(dy.shape, dtype=torch.int8)
    scale = torch.empty(channels if per == "channel" else samples)
    sizes = samples, dy.numel() // (samples * channels), channels
    how = bits, per == "channel", key & (2**64 - 1)
    threads = torch.get_num_threads()
    status = library.gxnor_int_quantize(dy.data_ptr(), *sizes, *how, q.data_ptr(), scale.data_ptr(), threads)
    if status == 1:
        raise FloatingPointError("the gradient is not finite")
    return integer.quantize(dy, bits, key, per) if status else (q, scale)


def sums(x: torch.Tensor, w: torch.Tensor, g: Geometry) -> torch.Tensor:
    """`integer.sums`."""
    library = native.library() if x.device.type == "cpu" else None
    if library is not None:
        y = torch.empty(output_shape(x.shape, w.shape, g))
        given = ctypes.byref(_conv(x.shape, w.shape, g)), x.data_ptr(), w.data_ptr(), y.data_ptr()
        if library.gxnor_int_conv_forward(*given, torch.get_num_threads()) == 0:
            return y
    return integer.sums(x, w, g)


def input_gradient(q, w, scale: torch.Tensor, shape: torch.Size, g: Geometry, pooled: Pooled | None = None):
    """`integer.input_gradient`, of q after a pool where there was one."""
    dx = torch.empty(shape, device=q.device)
    if _run_backward("input", shape, w.shape, g, q, pooled, w, scale, dx):
        return dx
    return integer.input_gradient(q if pooled is None else pooled.whole(q), w, scale, shape, g)


def weight_gradient(q, x, scale: torch.Tensor, shape: torch.Size, g: Geometry, pooled: Pooled | None = None):
    """`integer.weight_gradient`, of q after a pool where there was one."""
    dw = torch.empty(shape, device=q.device)
    if _run_backward("weight", x.shape, shape, g, q, pooled, x, scale, dw):
        return dw
    return integer.weight_gradient(q if pooled is None else pooled.whole(q), x, scale, shape, g)


def block_sums(x: torch.Tensor, w: torch.Tensor, g: Geometry, pool: Pool | None):
    """`integer_block.sums`."""
    library = native.library() if x.device.type == "cpu" else None
    if library is not None:
        before = output_shape(x.shape, w.shape, g)
        after = before if pool is None else (*pooled_size(before, pool), before[3])
        s, totals = torch.empty(after, dtype=torch.int16), torch.empty(2, after[3], dtype=torch.float64)
        place = None if pool is None else torch.empty(after, dtype=torch.uint8)
        described = None if pool is None else _pool(before, s.shape, pool)
        given = (
            ctypes.byref(_conv(x.shape, w.shape, g)),
            described and ctypes.byref(described),
            x.data_ptr(),
            w.data_ptr(),
        )
        results = s.data_ptr(), None if place is None else place.data_ptr(), totals.data_ptr()
        if library.gxnor_block_sums(*given, *results, torch.get_num_threads()) == 0:
            return s, place, totals
    return integer_block.sums(x, w, g, pool)


def block_states(c: torch.Tensor, s: torch.Tensor, phi: Phi) -> torch.Tensor:
    """`integer_block.states`."""
    library = native.library() if s.device.type == "cpu" else None
    if library is not None:
        states, rows = torch.empty(s.shape, dtype=torch.int8), s[..., 0].numel()
        given = ctypes.byref(_phi(phi)), c.data_ptr(), s.data_ptr(), rows, s.shape[-1], states.data_ptr()
        if library.gxnor_block_states(*given, torch.get_num_threads()) == 0:
            return states
    return integer_block.states(c, s, phi)


def block_reduce(c: torch.Tensor, s: torch.Tensor, dy: torch.Tensor, phi: Phi) -> torch.Tensor:
    """`integer_block.reduce`."""
    library = native.library() if s.device.type == "cpu" else None
    if library is not None:
        totals = torch.empty(2, s.shape[-1], dtype=torch.float64)
        given = ctypes.byref(_phi(phi)), c.data_ptr(), s.data_ptr(), dy.data_ptr(), s[..., 0].numel(), s.shape[-1]
        if library.gxnor_block_reduce(*given, totals.data_ptr(), torch.get_num_threads()) == 0:
            return totals
    return integer_block.reduce(c, s, dy, phi)


def block_round(c, s, dy, phi: Phi, bits: int, key: int, per: str, pooled: Pooled | None = None):
    """`integer_block.round_gradient`."""
    library = native.library() if s.device.type == "cpu" else None
    if library is not None:
        samples, channels = s.shape[0], s.shape[-1]
        q, scale = torch.empty(s.shape, dtype=torch.int8), torch.empty(channels if per == "channel" else samples)
        given = ctypes.byref(_phi(phi)), c.data_ptr(), s.data_ptr(), dy.data_ptr(), *_places(s.shape, pooled)
        sizes = samples, s.shape[1:3].numel(), channels, bits, per == "channel", key & (2**64 - 1)
        status = library.gxnor_block_round(*given, *sizes, q.data_ptr(), scale.data_ptr(), torch.get_num_threads())
        if status == 1:
            raise FloatingPointError("the gradient is not finite")
        if status == 0:
            return q, scale
    return integer_block.round_gradient(c, s, dy, phi, bits, key, per, pooled)


def _phi(phi: Phi) -> native.Phi:
    return describe_phi(phi.N, phi.r, phi.H, phi.a, phi.window)


def _pool(before: tuple[int, ...], after: torch.Size, pool: Pool) -> native.Pool:
    n, *size, channels = before
    return native.Pool(n, channels, *size, *after[1:3], *pool[:4])


def _places(after: torch.Size, pooled: Pooled | None):
    """Pool and places as the library takes them, of values of this shape."""
    if pooled is None:
        return None, None
    described = _pool((after[0], *pooled.size, after[3]), after, pooled.pool)
    return ctypes.byref(described), pooled.place.data_ptr()


def pooled_size(before: tuple[int, ...], pool: Pool) -> torch.Size:
    """(N, H, W) after the pool of (N, H, W, C). What is wrong with the geometry, PyTorch says."""
    return torch.Size((before[0], *_pooled_plane(tuple(before[1:3]), pool)))


@functools.lru_cache
def _pooled_plane(size: tuple[int, ...], pool: Pool) -> torch.Size:
    return F.max_pool2d(torch.empty((1, 1, *size), device="meta"), *pool).shape[2:]


def output_shape(x: torch.Size, w: torch.Size, g: Geometry) -> tuple[int, int, int, int]:
    """(N, Ho, Wo, O) of the product of x and W."""
    height, width = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x[1:3], g.padding, g.dilation, w[1:3], g.stride, strict=True)
    )
    return x[0], height, width, w[0]


def _run_backward(which: str, x: torch.Size, w: torch.Size, g: Geometry, q: torch.Tensor, pooled, *tensors) -> bool:
    """Whether the native kernel did it."""
    library = native.library() if q.device.type == "cpu" else None
    if library is None:
        return False
    kernel = getattr(library, f"gxnor_int_conv_{which}")
    given = ctypes.byref(_conv(x, w, g)), q.data_ptr(), *_places(q.shape, pooled), *(t.data_ptr() for t in tensors)
    return kernel(*given, torch.get_num_threads()) == 0


def _conv(x: torch.Size, w: torch.Size, g: Geometry) -> native.IntConv:
    _, ho, wo, _ = output_shape(x, w, g)
    geometry = tuple(w[1:3]), g.stride, g.padding, g.dilation, g.groups
    return native.IntConv(*x, ho, wo, w[0], *geometry, g.x_bound, g.w_bound, g.q_bound)
