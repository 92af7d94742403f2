"""The products of `gxnor.nn.integer` by the native kernels where they apply, else by the reference: the same bits."""

from __future__ import annotations

import ctypes

import torch

from gxnor import native
from gxnor.nn import integer
from gxnor.nn.integer import Geometry


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
    y = torch.empty(output_shape(x.shape, w.shape, g), device=x.device)
    return y if _run("forward", x.shape, w.shape, g, x, w, y) else integer.sums(x, w, g)


def input_gradient(q: torch.Tensor, w: torch.Tensor, scale: torch.Tensor, shape: torch.Size, g: Geometry):
    """`integer.input_gradient`."""
    dx = torch.empty(shape, device=q.device)
    return dx if _run("input", shape, w.shape, g, q, w, scale, dx) else integer.input_gradient(q, w, scale, shape, g)


def weight_gradient(q: torch.Tensor, x: torch.Tensor, scale: torch.Tensor, shape: torch.Size, g: Geometry):
    """`integer.weight_gradient`."""
    dw = torch.empty(shape, device=q.device)
    return dw if _run("weight", x.shape, shape, g, q, x, scale, dw) else integer.weight_gradient(q, x, scale, shape, g)


def output_shape(x: torch.Size, w: torch.Size, g: Geometry) -> tuple[int, int, int, int]:
    """(N, Ho, Wo, O) of the product of x and W."""
    height, width = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x[1:3], g.padding, g.dilation, w[1:3], g.stride, strict=True)
    )
    return x[0], height, width, w[0]


def _run(which: str, x: torch.Size, w: torch.Size, g: Geometry, *tensors: torch.Tensor) -> bool:
    """Whether the native kernel did it."""
    library = native.library() if tensors[0].device.type == "cpu" else None
    if library is None:
        return False
    _, ho, wo, _ = output_shape(x, w, g)
    bounds = g.x_bound, g.w_bound, g.q_bound
    geometry = tuple(w[1:3]), g.stride, g.padding, g.dilation, g.groups
    described = native.IntConv(*x, ho, wo, w[0], *geometry, *bounds)
    kernel = getattr(library, f"gxnor_int_conv_{which}")
    return kernel(ctypes.byref(described), *(t.data_ptr() for t in tensors), torch.get_num_threads()) == 0
