"""Small saved activations: a forward pass that keeps for backward what backward needs, in its true size and to the bit.

    with gxnor.nn.small_activations():
        loss = criterion(model(x), y)
    loss.backward()

In a block of convolution, max-pooling, batch norm and phi, PyTorch saves every tensor between two of them as float, and
pooling indices as int64. Inside this context

    convolutions and dense layers of gxnor.nn   save their input as integers of 1 to 16 bits (`gxnor.nn.small`),
    max-pooling (2d)                            saves the place within its window, a byte,
    batch norm                                  saves its input, the sums, as integers,
    phi with rectangular windows                saves in how many windows its input lies, mostly one bit.

All is exact, so the gradients are the same bits as without. What has no exact small form, a real input or a triangular
window, is saved as ever, and so is everything of other modules.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from gxnor.nn import small


class small_activations(TorchFunctionMode):
    """The context manager; see the module's text. It matters for the forward pass alone, backward may run outside.

    It does nothing without gradients, under autocast or torch.compile. Raises RuntimeError in a backward pass that is to
    be differentiated itself (create_graph=True), for that needs the float tensors.
    """

    def __enter__(self):
        self.before = getattr(small.state, "on", False)
        small.state.on = True
        return super().__enter__()

    def __exit__(self, *exception):
        small.state.on = self.before
        return super().__exit__(*exception)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        replacement = REPLACEMENTS.get(func)
        result = replacement(*args, **(kwargs or {})) if replacement and small.is_on() else None
        return func(*args, **(kwargs or {})) if result is None else result


class _BatchNorm(torch.autograd.Function):
    """Torch's batch norm in training. On the CPU, backward takes a few channels at a time: each is a matter of its own."""

    @staticmethod
    def forward(ctx, x, data, form, weight, bias, running_mean, running_var, momentum, eps):
        y, mean, invstd, reserve, ctx.kernel = torch._batch_norm_impl_index(
            x, weight, bias, running_mean, running_var, True, momentum, eps, torch.backends.cudnn.enabled
        )
        ctx.form, ctx.eps = form, eps
        ctx.save_for_backward(data, weight, mean, invstd, reserve)
        return y

    @staticmethod
    def backward(ctx, dy):
        small.refuse_double_backward()
        data, weight, mean, invstd, reserve = ctx.saved_tensors
        need = [ctx.needs_input_grad[i] for i in (0, 3, 4)]
        dx, *others = torch.empty_strided(data.shape, data.stride(), dtype=dy.dtype, device=dy.device), [], []
        for begin, end in small.slices(dy.shape[1], dy.numel() // dy.shape[1] * dy.element_size(), dy.device):
            x = ctx.form.channels(data, begin, end)
            grads = torch.ops.aten._batch_norm_impl_index_backward(
                ctx.kernel, x, dy[:, begin:end].contiguous(memory_format=small.memory_format(x)),
                None if weight is None else weight[begin:end], None, None, mean[begin:end], invstd[begin:end],
                True, ctx.eps, need, reserve,
            )  # fmt: skip
            if need[0]:
                dx[:, begin:end] = grads[0]
            for other, grad in zip(others, grads[1:], strict=True):
                other.append(grad)
        dweight, dbias = (torch.cat(other) if wanted else None for other, wanted in zip(others, need[1:], strict=True))
        return dx if need[0] else None, None, None, dweight, dbias, None, None, None, None


def _batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if not training or torch.is_autocast_enabled(x.device.type):
        return None
    F._verify_batch_size(x.size())
    data, form = small.small(x, least=8)
    if not form.bits:
        return None
    return _BatchNorm.apply(x, data, form, weight, bias, running_mean, running_var, momentum, eps)


class _MaxPool2d(torch.autograd.Function):
    """Torch's max-pooling. What is saved is where in its window each maximum lies."""

    @staticmethod
    def forward(ctx, x, kernel, stride, padding, dilation, ceil_mode):
        ctx.like = x.shape, x.stride()
        ctx.geometry = kernel, stride, padding, dilation, ceil_mode
        whole, place = [], []
        for begin, end in small.slices(len(x), x[0].numel() * x.element_size(), x.device):
            y, index = F.max_pool2d_with_indices(x[begin:end], *ctx.geometry)
            whole.append(y)
            place.append(_place(index, x.shape[-1], *ctx.geometry))
        y, place = (t[0] if len(t) == 1 else torch.cat(t) for t in (whole, place))
        ctx.save_for_backward(place)
        return y

    @staticmethod
    def backward(ctx, dy):
        small.refuse_double_backward()
        (place,) = ctx.saved_tensors
        shape, strides = ctx.like
        dx = torch.empty_strided(shape, strides, dtype=dy.dtype, device=dy.device)
        for begin, end in small.slices(shape[0], dx[0].numel() * dx.element_size(), dy.device):
            like = dx[begin:end]  # of the input, torch's function reads the shape alone
            index = _index(place[begin:end], shape[-1], *ctx.geometry)
            dx[begin:end] = torch.ops.aten.max_pool2d_with_indices_backward(
                dy[begin:end], like, *ctx.geometry, index
            )  # fmt: skip
        return dx, None, None, None, None, None


def _place(index: torch.Tensor, width: int, kernel, stride, padding, dilation, ceil_mode) -> torch.Tensor:
    """int64 indices into an image's plane -> uint8 places in the windows, row by row."""
    top, left = _origins(index, stride, padding)
    row = (torch.div(index, width, rounding_mode="floor") - top).div_(dilation[0], rounding_mode="floor")
    column = (index % width - left).div_(dilation[1], rounding_mode="floor")
    return row.mul_(kernel[1]).add_(column).to(torch.uint8)


def _index(place: torch.Tensor, width: int, kernel, stride, padding, dilation, ceil_mode) -> torch.Tensor:
    """The inverse of `_place`."""
    top, left = _origins(place, stride, padding)
    place = place.to(torch.int64)
    row = torch.div(place, kernel[1], rounding_mode="floor").mul_(dilation[0]).add_(top)
    return place.remainder_(kernel[1]).mul_(dilation[1]).add_(left).add_(row.mul_(width))


def _origins(t: torch.Tensor, stride, padding) -> tuple[torch.Tensor, torch.Tensor]:
    """int64 [rows, 1] and [columns]: the first row and column of every window of the output t, padding being negative."""
    rows, columns = (torch.arange(n, device=t.device) for n in t.shape[-2:])
    return (rows * stride[0] - padding[0])[:, None], columns * stride[1] - padding[1]


def _max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    kernel, stride, padding, dilation = (
        (size, size) if isinstance(size, int) else tuple(size)
        for size in (kernel_size, kernel_size if stride is None else stride, padding, dilation)
    )
    if return_indices or x.dim() != 4 or not x.requires_grad or not small.is_dense(x):
        return None
    if x.numel() == 0 or kernel[0] * kernel[-1] > 256 or len({*map(len, (kernel, stride, padding, dilation))}) != 1:
        return None
    return _MaxPool2d.apply(x, kernel, stride, padding, dilation, ceil_mode)


REPLACEMENTS = {F.batch_norm: _batch_norm, F.max_pool2d: _max_pool2d}
