"""Max-pooling that saves for backward where in its window each maximum lies: a byte, where PyTorch saves an int64.

Values and gradients are those of `torch.nn.functional.max_pool2d`, bit for bit.
"""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F

from gxnor import native
from gxnor.nn import saved_formats


class _MaxPool2d(torch.autograd.Function):
    """`geometry` is what max_pool2d takes: kernel, stride, padding and dilation as pairs, and ceil_mode."""

    @staticmethod
    def forward(ctx, x, *geometry):
        ctx.like, ctx.geometry = (x.shape, x.stride()), geometry
        library = native.library() if saved_formats.is_plain(x) else None
        y, place = _forward(library, x, *geometry) if library else forward_reference(x, *geometry)
        ctx.save_for_backward(place)
        return y

    @staticmethod
    def backward(ctx, dy):
        saved_formats.refuse_double_backward()
        (place,), (shape, strides) = ctx.saved_tensors, ctx.like
        dx = torch.empty_strided(shape, strides, dtype=dy.dtype, device=dy.device)
        library = native.library() if saved_formats.is_plain(dx) else None
        if library is None:
            index = indices(place, shape[-1], *ctx.geometry)
            dx = torch.ops.aten.max_pool2d_with_indices_backward(dy, dx, *ctx.geometry, index)
        else:
            if dy.stride() != place.stride():
                dy = torch.empty_strided(place.shape, place.stride(), dtype=dy.dtype).copy_(dy)
            pointers = (t.data_ptr() for t in (dy, place, dx))
            pool = ctypes.byref(_describe(dx, place, *ctx.geometry))
            library.gxnor_pool_backward(pool, *pointers, torch.get_num_threads())
        return dx, *[None] * 5


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The replacement of F.max_pool2d, or None where it does not apply."""
    geometry = [
        (size, size) if isinstance(size, int) else tuple(size)
        for size in (kernel_size, kernel_size if stride is None else stride, padding, dilation)
    ]
    if return_indices or x.dim() != 4 or not x.requires_grad or not saved_formats.is_dense(x) or x.numel() == 0:
        return None
    kernel = geometry[0]
    if kernel[0] * kernel[-1] > 256 or {*map(len, geometry)} != {2}:
        return None
    return _MaxPool2d.apply(x, *geometry, ceil_mode)


def forward_reference(x: torch.Tensor, *geometry) -> tuple[torch.Tensor, torch.Tensor]:
    """The pooled values and, as uint8, their places within the windows, counted row by row."""
    y, index = F.max_pool2d_with_indices(x, *geometry)
    offset = _offsets(index, x.shape[-1], geometry[0], geometry[3])
    table = torch.zeros(int(offset[-1]) + 1, dtype=torch.uint8, device=x.device)
    table[offset] = torch.arange(len(offset), dtype=torch.uint8, device=x.device)
    return y, table[index - _origins(index, x.shape[-1], geometry[1], geometry[2])]


def indices(place: torch.Tensor, width: int, kernel, stride, padding, dilation, ceil_mode) -> torch.Tensor:
    """PyTorch's int64 indices into the planes of images of this width, of uint8 places."""
    return _offsets(place, width, kernel, dilation)[place.long()] + _origins(place, width, stride, padding)


def _origins(pooled: torch.Tensor, width: int, stride, padding) -> torch.Tensor:
    """int64 [rows, columns]: the index of every window's first place, were the plane without end."""
    rows, columns = (torch.arange(n, device=pooled.device) for n in pooled.shape[-2:])
    return (rows * stride[0] - padding[0])[:, None] * width + (columns * stride[1] - padding[1])


def _offsets(pooled: torch.Tensor, width: int, kernel, dilation) -> torch.Tensor:
    """int64 [places]: the offset of every position in a window from the window's first position."""
    rows, columns = (torch.arange(k, device=pooled.device) * d for k, d in zip(kernel, dilation, strict=True))
    return (rows[:, None] * width + columns).flatten()


def _forward(library: ctypes.CDLL, x: torch.Tensor, *geometry) -> tuple[torch.Tensor, torch.Tensor]:
    """`forward_reference` by the native kernel. The shape, and what is wrong with the geometry, PyTorch says."""
    shape = F.max_pool2d(torch.empty(x.shape, device="meta"), *geometry).shape
    y, place = (
        torch.empty(shape, dtype=dtype, memory_format=saved_formats.memory_format(x))
        for dtype in (x.dtype, torch.uint8)
    )
    pointers = (t.data_ptr() for t in (x, y, place))
    library.gxnor_pool_forward(ctypes.byref(_describe(x, place, *geometry)), *pointers, torch.get_num_threads())
    return y, place


def _describe(x: torch.Tensor, pooled: torch.Tensor, kernel, stride, padding, dilation, ceil_mode) -> native.Pool:
    n, channels, *size = x.shape
    planes = (n * channels, 1) if saved_formats.memory_format(x) == torch.contiguous_format else (n, channels)
    return native.Pool(*planes, *size, *pooled.shape[2:], kernel, stride, padding, dilation)
