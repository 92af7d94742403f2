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

import ctypes
import functools

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from gxnor import native
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
            place.append(places(index, x.shape[-1], *ctx.geometry))
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
            index = indices(place[begin:end], shape[-1], *ctx.geometry)
            dx[begin:end] = torch.ops.aten.max_pool2d_with_indices_backward(
                dy[begin:end], like, *ctx.geometry, index
            )  # fmt: skip
        return dx, None, None, None, None, None


def places(index: torch.Tensor, width: int, kernel, stride, padding, dilation, ceil_mode) -> torch.Tensor:
    """int64 indices into the planes of images of this width -> uint8 places in the windows, row by row."""
    origin, offset = _origins(index, width, stride, padding), _offsets(index, width, kernel, dilation)
    table = torch.zeros(int(offset[-1]) + 1, dtype=torch.uint8, device=index.device)
    table[offset] = torch.arange(len(offset), dtype=torch.uint8, device=index.device)
    lib = _native() if index.device.type == "cpu" and small.is_dense(index) else None
    if lib is None:
        return table[index - origin]
    place = torch.empty_strided(index.shape, index.stride(), dtype=torch.uint8)
    lib.gxnor_pool_places(
        index.data_ptr(), place.data_ptr(), index.numel(), _inner(index), origin.data_ptr(), origin.numel(),
        table.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return place


def indices(place: torch.Tensor, width: int, kernel, stride, padding, dilation, ceil_mode) -> torch.Tensor:
    """The inverse of `places`."""
    origin, offset = _origins(place, width, stride, padding), _offsets(place, width, kernel, dilation)
    lib = _native() if place.device.type == "cpu" and small.is_dense(place) else None
    if lib is None:
        return offset[place.long()] + origin
    index = torch.empty_strided(place.shape, place.stride(), dtype=torch.int64)
    lib.gxnor_pool_indices(
        place.data_ptr(), index.data_ptr(), place.numel(), _inner(place), origin.data_ptr(), origin.numel(),
        offset.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return index


def _origins(pooled: torch.Tensor, width: int, stride, padding) -> torch.Tensor:
    """int64 [rows, columns]: the index of every window's first place, were the plane without end."""
    rows, columns = (torch.arange(n, device=pooled.device) for n in pooled.shape[-2:])
    return (rows * stride[0] - padding[0])[:, None] * width + (columns * stride[1] - padding[1])


def _offsets(pooled: torch.Tensor, width: int, kernel, dilation) -> torch.Tensor:
    """int64 [places]: how far behind a window's first place the others are."""
    rows, columns = (torch.arange(k, device=pooled.device) * d for k, d in zip(kernel, dilation, strict=True))
    return (rows[:, None] * width + columns).flatten()


def _inner(t: torch.Tensor) -> int:
    return 1 if t.is_contiguous() else t.shape[1]


@functools.cache
def _native():
    """The kernels of native/pooling.cpp, or None where they were not built."""
    lib = native.library()
    if lib is None:
        return None
    for kernel in (lib.gxnor_pool_places, lib.gxnor_pool_indices):
        kernel.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,  # from, to, n, inner
            ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int,  # origins, their number, table, threads
        ]  # fmt: skip
        kernel.restype = None
    return lib


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
