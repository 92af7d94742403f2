"""What discrete layers compute outside integer arithmetic, as functions of autograd that save packed weights."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from gxnor.nn import saved_formats
from gxnor.nn.projection import project


class Project(torch.autograd.Function):
    """Value of the nearest state forward, identity backward."""

    @staticmethod
    def forward(ctx, weight, space):
        return project(weight, space)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class Convolution(torch.autograd.Function):
    """Convolution with packed W, a slice of a large batch at a time: so what the kernels need beside input and output is
    small too. `data` is what is saved of x, see `saved_formats.small`."""

    @staticmethod
    def forward(ctx, x, weight, data, form, stride, padding, dilation, groups):
        ctx.form, ctx.geometry = form, (stride, padding, dilation, False, (0,) * len(stride), groups)
        ctx.save_for_backward(data if form.bits else x, weight)
        values, y = weight.dequantize(x.dtype), None
        for begin, end in _slices(x, weight, *ctx.geometry):
            part = torch.convolution(x[begin:end], values, None, *ctx.geometry)
            if end - begin == len(x):
                return part
            if y is None:
                y = torch.empty_strided((len(x), *part.shape[1:]), part.stride(), dtype=x.dtype, device=x.device)
            y[begin:end] = part
        return y

    @staticmethod
    def backward(ctx, dy):
        data, weight = ctx.saved_tensors
        form, need = ctx.form, [*ctx.needs_input_grad[:2], False]
        convolution_backward = torch.ops.aten.convolution_backward
        if torch.is_grad_enabled():  # this pass is itself to be differentiated
            saved_formats.refuse_double_backward(form)
            dx, dw, _ = convolution_backward(dy, data, weight, None, *ctx.geometry, need)
            return dx, dw, *[None] * 6
        values, dx, dw = weight.dequantize(dy.dtype), None, None
        for begin, end in _slices(form, weight, *ctx.geometry):
            x = form.rows(data, begin, end)
            part, dw_part, _ = convolution_backward(dy[begin:end], x, values, None, *ctx.geometry, need)
            if need[1]:
                dw = dw_part if dw is None else dw.add_(dw_part)
            if need[0] and end - begin == form.shape[0]:
                dx = part
            elif need[0]:
                if dx is None:
                    dx = torch.empty_strided(form.shape, form.strides, dtype=dy.dtype, device=dy.device)
                dx[begin:end] = part
        return dx, dw if dw is None else dw.to(weight.dtype), *[None] * 6


def _slices(x: torch.Tensor | saved_formats.Form, weight, stride, padding, dilation, *_):
    """The slices of a batch x, by the larger of input and output."""
    axes = zip(x.shape[2:], padding, dilation, weight.shape[2:], stride, strict=True)
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in axes]
    largest = max(x.shape[1:].numel(), weight.shape[0] * math.prod(size))
    return saved_formats.slices(x.shape[0], largest * x.dtype.itemsize, weight.device)


class Product(torch.autograd.Function):
    """x W^T for packed W: unlike F.linear, what it saves for backward is W packed, not its float values. `data` is what is
    saved of x, see `saved_formats.small`."""

    @staticmethod
    def forward(ctx, x, weight, data, form):
        ctx.form = form
        ctx.save_for_backward(data if form.bits else x, weight)
        return F.linear(x, weight.dequantize(x.dtype))

    @staticmethod
    def backward(ctx, dy):
        saved_formats.refuse_double_backward(ctx.form)
        data, weight = ctx.saved_tensors
        rows, dx, dw = dy.reshape(-1, dy.shape[-1]), None, None
        if ctx.needs_input_grad[0]:
            dx = (rows @ weight.to(dy.dtype)).view(ctx.form.shape)
        if ctx.needs_input_grad[1]:
            x = ctx.form.whole(data)
            dw = (rows.t() @ x.reshape(-1, x.shape[-1])).to(weight.dtype)
        return dx, dw, None, None
