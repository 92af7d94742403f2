"""Packed saved activations: a forward pass saves what the backward pass needs in its true size, exact to the bit.

    with gxnor.nn.pack_saved_activations():
        loss = criterion(model(x), y)
    loss.backward()

In a block of convolution, max-pooling, batch norm and phi, PyTorch saves every tensor between two of them as floats, and
pooling indices as int64. Inside this context

    convolutions and dense layers of gxnor.nn   save their input as integers of 1 to 16 bits (`saved_formats`),
    max-pooling (2d)                            saves the position within its window, a byte,
    batch norm                                  saves its input, the sums, as integers,
    phi with rectangular windows                saves the number of windows in which its input lies, mostly one bit.

Everything is exact, so the gradients are the same bits as without the context. What has no exact small form, such as a real
input or a triangular window, is saved as usual, and so is whatever other modules save.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from gxnor.nn import saved_formats
from gxnor.nn.pooling import max_pool2d


class pack_saved_activations(TorchFunctionMode):
    """The context manager; see the module's text. Only the forward pass has to run inside; backward may run outside.

    It does nothing without gradients, under autocast or under torch.compile. A backward pass that is itself to be
    differentiated (create_graph=True) raises RuntimeError, because it would need the float tensors.
    """

    def __enter__(self):
        self.before = getattr(saved_formats.state, "on", False)
        saved_formats.state.on = True
        return super().__enter__()

    def __exit__(self, *exception):
        saved_formats.state.on = self.before
        return super().__exit__(*exception)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        replacement = REPLACEMENTS.get(func)
        result = replacement(*args, **(kwargs or {})) if replacement and saved_formats.is_on() else None
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
        saved_formats.refuse_double_backward()
        data, *per_channel, reserve = ctx.saved_tensors
        need = [ctx.needs_input_grad[i] for i in (0, 3, 4)]

        def gradients(x, dy, part=slice(None)):
            weight, mean, invstd = (None if t is None else t[part] for t in per_channel)
            return torch.ops.aten._batch_norm_impl_index_backward(
                ctx.kernel, x, dy, weight, None, None, mean, invstd, True, ctx.eps, need, reserve
            )

        if _is_taken_whole(dy, data):
            dx, *others = gradients(ctx.form.whole(data), dy)
        else:
            dx, format = torch.empty_strided(data.shape, data.stride(), dtype=dy.dtype), saved_formats.memory_format(dy)
            others = []
            for begin, end in saved_formats.slices(
                dy.shape[1], dy.numel() // dy.shape[1] * dy.element_size(), dy.device
            ):
                x, part = ctx.form.channels(data, begin, end), slice(begin, end)
                dx_part, *other = gradients(x, dy[:, part].contiguous(memory_format=format), part)
                if need[0]:
                    dx[:, part] = dx_part
                others.append(other)
            others = [
                torch.cat(parts) if wanted else None
                for parts, wanted in zip(zip(*others, strict=True), need[1:], strict=True)
            ]
        return dx if need[0] else None, None, None, *others, None, None, None, None


def _is_taken_whole(dy: torch.Tensor, data: torch.Tensor) -> bool:
    """A slice takes three copies of its size, of input and gradients, the whole just one: so up to four slices it is no
    larger. Where the gradient lies otherwise in memory than the input, PyTorch sums in another order, which slices lose."""
    small_enough = dy.device.type != "cpu" or dy.numel() * dy.element_size() <= 4 * saved_formats.SLICE
    return small_enough or not dy.is_contiguous(memory_format=saved_formats.memory_format(data))


def _batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if not training or torch.is_autocast_enabled(x.device.type):
        return None
    F._verify_batch_size(x.size())
    data, form = saved_formats.small(x, least=8)
    if not form.bits:
        return None
    return _BatchNorm.apply(x, data, form, weight, bias, running_mean, running_var, momentum, eps)


REPLACEMENTS = {F.batch_norm: _batch_norm, F.max_pool2d: max_pool2d}
