"""The arithmetic of training on integers: round the gradient, multiply integers, scale.

A layer computes y = x * W and, from the gradient dY of y, dX = dY * W and dW = dY * x. States x and W are small integers
times a constant. dY is rounded to small integers too, with one scale s for all numbers that a product sums:

    s = max |dY| / top,   top = 2^(bits - 1) - 1          the absolute maximum: nothing is clipped
    q = floor(dY (1 / s) + u),   u uniform in [0, 1)      so E[q s] = dY

dX sums over output channels, so its scale is per sample; dW sums over samples and places, so its scale is per output
channel, from a second rounding with draws of its own (two quantizers: StatQuant, arXiv 2010.14298):

    dX[n] = s[n] * sum q W            dW[o] = s[o] * sum q x

The sums are exact in any order, and E[dX] and E[dW] are the gradients without rounding. Tensors are contiguous, channels
last: x [N, H, W, I], W [O, kh, kw, I / groups], dY and q [N, Ho, Wo, O]; a dense layer is a 1x1 convolution of 1x1
images. This is the reference of the kernels that `gxnor.nn.integer_kernels` calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from gxnor.nn.stream import uniform

FLOAT_EXACT = 2**24  # integers up to here are exact in float32
LARGEST_SUM = 2**31 - 1


@dataclass(frozen=True)
class Geometry:
    """A convolution in two dimensions, and the largest magnitudes of the integers in it."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    x_bound: int
    w_bound: int
    q_bound: int


def quantize(dy: torch.Tensor, bits: int, key: int, per: str = "sample") -> tuple[torch.Tensor, torch.Tensor]:
    """(q int8 like dy, s float32 [N], or [O] for per = "channel") of dy, float32 [N, ..., O]; see the module's text.

    u is the stream of `key`, in the order of memory. Where all are zero, or too small for 1 / s, s and q are 0. Raises
    FloatingPointError where dy is NaN or infinite."""
    top = 2 ** (bits - 1) - 1
    dims = tuple(range(1, dy.dim())) if per == "sample" else tuple(range(dy.dim() - 1))
    largest = dy.abs().amax(dims, keepdim=True)
    if not torch.isfinite(largest).all():
        raise FloatingPointError("the gradient is not finite")
    tops = torch.full_like(largest, top)  # no plain number: by that, a GPU divides otherwise
    inverse = tops / largest
    nothing = torch.isinf(inverse)
    u = uniform(key, dy.numel(), dy.device).view(dy.shape)
    q = torch.floor(dy * inverse.masked_fill(nothing, 0) + u)
    q = q.clamp_(-top, top).to(torch.int8)  # in float32, top + u may come to top + 1
    return q, (largest / tops).masked_fill(nothing, 0).flatten()


def sums(x: torch.Tensor, w: torch.Tensor, g: Geometry) -> torch.Tensor:
    """float32 [N, Ho, Wo, O]: x * W, for sums up to 2^24."""
    dtype = _exact(g.x_bound * g.w_bound * w[0].numel(), x.device)
    y = F.conv2d(_channels_first(x, dtype), _channels_first(w, dtype), None, g.stride, g.padding, g.dilation, g.groups)
    return _channels_last(y)


def input_gradient(q: torch.Tensor, w: torch.Tensor, scale: torch.Tensor, shape: torch.Size, g: Geometry):
    """float32 of the shape of x: s[n] * sum q W, for sums that fit 32 bits."""
    dtype = _exact(g.q_bound * g.w_bound * w[..., 0].numel() // g.groups, q.device)
    dx = _backward(_channels_first(q, dtype), _shape_alone(shape, q, dtype), _channels_first(w, dtype), g, 0)
    return _channels_last(dx) * scale.view(-1, 1, 1, 1)


def weight_gradient(q: torch.Tensor, x: torch.Tensor, scale: torch.Tensor, shape: torch.Size, g: Geometry):
    """float32 of the shape of W: s[o] * sum q x, for sums that fit 32 bits."""
    dtype = _exact(g.q_bound * g.x_bound * q[..., 0].numel(), q.device)
    dw = _backward(_channels_first(q, dtype), _channels_first(x, dtype), _shape_alone(shape, q, dtype), g, 1)
    return _channels_last(dw) * scale.view(-1, 1, 1, 1)


def _backward(dy, x, w, g: Geometry, which: int) -> torch.Tensor:
    """PyTorch's gradient of x (which = 0) or of w (1)."""
    settings = g.stride, g.padding, g.dilation, False, (0, 0), g.groups
    return torch.ops.aten.convolution_backward(dy, x, w, None, *settings, [which == 0, which == 1, False])[which]


def _exact(largest_sum: int, device: torch.device) -> torch.dtype:
    """A float type in which sums are exact; on a GPU, whose convolutions may transform their operands, exact when
    rounded."""
    return torch.float32 if largest_sum <= FLOAT_EXACT and device.type == "cpu" else torch.float64


def _shape_alone(shape: torch.Size, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    n, height, width, channels = shape
    return torch.empty(1, dtype=dtype, device=like.device).expand(n, channels, height, width)


def _channels_first(t: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return t.to(dtype).permute(0, 3, 1, 2)


def _channels_last(t: torch.Tensor) -> torch.Tensor:
    return t.round().float().permute(0, 2, 3, 1).contiguous()
