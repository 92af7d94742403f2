"""Blocks of layers that compute as one in integer arithmetic: a discrete layer, max-pooling or none, batch norm, phi.

`Sequential` is torch's own, but for this: inside `gxnor.nn.integer_arithmetic`, layers in a row that make a block run as
one function, see `gxnor.nn.integer_block` for what it computes and saves. Sums are those of the layers on their own;
batch norm's mean and variance are exact, so the last bits of what it puts out may differ from PyTorch's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules import module as every_module

from gxnor.nn import integer_block, integer_operands, saved_formats
from gxnor.nn import integer_kernels as kernels
from gxnor.nn import integer_products as products
from gxnor.nn.activation import Activation
from gxnor.nn.layers import Conv1d, Conv2d, Linear
from gxnor.nn.stream import subkey
from gxnor.nn.tracing import is_symbolic, is_transformed

NORMS = {Linear: nn.BatchNorm1d, Conv1d: nn.BatchNorm1d, Conv2d: nn.BatchNorm2d}  # by the layer before
EXACT = 2**53  # integers up to here are exact in float64


class Sequential(nn.Sequential):
    """`torch.nn.Sequential` whose blocks run as one in integer arithmetic; see the module's text."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return in_order(self, x)


def in_order(modules: Iterable[nn.Module], x: torch.Tensor) -> torch.Tensor:
    """What the modules, one after the other, make of x; in integer arithmetic, blocks of them run as one."""
    if is_symbolic(x) or not products.is_on():
        for module in modules:
            x = module(x)
        return x
    unwritten = False  # whether x is one of `_run`
    for part in parts(modules):
        y = _run(part, x) if len(part) > 1 else None
        if y is None and unwritten:
            _write(x)
        unwritten = y is not None
        if y is None:
            for module in part:
                x = module(x)
        else:
            x = y
    if unwritten:
        _write(x)
    return x


def parts(modules: Iterable[nn.Module]) -> Iterator[list[nn.Module]]:
    """The modules in a row, those that make a block together."""
    left = list(modules)
    while left:
        length = max(1, _length(left))
        yield left[:length]
        del left[:length]


@dataclass(frozen=True)
class Rest:
    """What of a block is not the layer's product."""

    norm: nn.Module
    phi: integer_block.Phi
    pool: integer_block.Pool | None
    size: tuple[int, ...]  # of the images before the pool


def _length(modules: list[nn.Module]) -> int:
    """How many of the modules, from the first one on, are a block; 0 where none begins there."""
    kinds: list = [type(m) for m in modules[:4]]
    if not kinds or kinds[0] not in NORMS:
        return 0
    expected = [kinds[0], NORMS[kinds[0]], Activation]
    if kinds[:2] == [Conv2d, nn.MaxPool2d]:
        expected.insert(1, nn.MaxPool2d)
    return len(expected) if kinds[: len(expected)] == expected else 0


def _run(block: list, x: torch.Tensor) -> torch.Tensor | None:
    """What the block puts out, not yet written: another block reads only the states beside it, and float32 numbers that
    nobody reads take time and memory. None, and a note of why, where its layers are to run on their own."""
    layer, *pools, norm, activation = block
    reason, now = _obstacle(block, x), products.state.now
    if not reason:
        geometry = () if type(layer) is Linear else (layer.stride, layer._plain_padding(), layer.dilation, layer.groups)
        planned = products.make_plan(layer, x, *geometry)
        if planned is None:
            now.layers.pop()  # the layer, on its own, says so itself
            return None
        data, plan = planned
        _, *size, channels = shape = integer_operands.output_shape(x.shape, layer.weight.shape, plan)
        pool = _geometry(pools[0]) if pools else None
        if pool is not None:
            shape = torch.Size((*kernels.pooled_size(shape, pool), channels))
        reason = _overflow(plan, layer.weight.shape[1:].numel(), shape[:-1].numel())
        if not reason:
            phi = integer_block.Phi(*activation.settings())
            rest = Rest(norm, phi, pool, tuple(size))
            y, states = _Block.apply(x, layer.effective_weight(), norm.weight, norm.bias, data, plan, rest)
            top = max(1, 2**phi.N // 2)
            form = saved_formats.Form(8, max(0, phi.N - 1), top, states.shape, states.stride(), torch.float32)
            return products.hold(y, states, form)
        now.layers.pop()
    now.notes[layer] = f", the rest of its block in float: {reason}"
    return None


def _write(y: torch.Tensor) -> None:
    """Writes what `_run` left out."""
    held = products.held_by(y)
    assert held is not None  # `_run` has put it there
    states, form = held
    values = y.data  # another version counter: the states stay beside y
    values.copy_(states)
    if form.exponent:
        values *= 2.0**-form.exponent


def _obstacle(block: list[nn.Module], x: torch.Tensor) -> str:
    """Why the block cannot run as one, as far as can be told without a look at the values."""
    layer, *pools, norm, _ = block
    of_all = (
        every_module._global_forward_hooks,
        every_module._global_forward_pre_hooks,
        every_module._global_backward_hooks,
    )
    of_one = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
    if any(of_all) or any(getattr(m, hooks) for m in block for hooks in of_one):
        return "a hook listens to its layers"
    if x.device.type != "cpu" or is_transformed() or torch.is_inference_mode_enabled():
        return "it runs on the CPU, outside of torch.func and inference mode"
    if not norm.training or norm.weight is None or norm.weight.dtype != torch.float32:
        return "batch norm is not in training, or has no float32 weight"
    if layer.bias is not None or norm.num_features != layer.weight.shape[0]:
        return "the layer has a bias, or another number of outputs than batch norm"
    if x.dim() != layer.weight.dim():
        return "its input is not a batch"
    if pools:
        pool, (kernel, stride, _, dilation, _) = pools[0], _geometry(pools[0])
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if (
            pool.return_indices
            or kernel[0] * kernel[1] > 256
            or not all(s > r for s, r in zip(stride, reach, strict=True))
        ):
            return "the pool's windows overlap, or have more than 256 places"
    return ""


def _geometry(pool: nn.MaxPool2d) -> integer_block.Pool:
    stride = pool.kernel_size if pool.stride is None else pool.stride
    pairs = (
        (n, n) if isinstance(n, int) else tuple(n) for n in (pool.kernel_size, stride, pool.padding, pool.dilation)
    )
    return *pairs, pool.ceil_mode


def _overflow(plan: integer_operands.Plan, fan: int, rows: int) -> str:
    """Why the sums, or batch norm's totals of them, may be too large, or are too few."""
    most = plan.geometry.x_bound * plan.geometry.w_bound * fan
    if most > integer_block.LARGEST or rows * most * most > EXACT or not integer_operands.is_one_product(plan):
        return "its sums may leave 16 bits"
    return "" if rows > 1 else "batch norm wants more than one value per channel"


class _Block(torch.autograd.Function):
    """Returns phi's values, not yet written, and its states, int8."""

    @staticmethod
    def forward(ctx, x, weight, gamma, beta, data, plan, rest):
        ctx.plan, ctx.rest, ctx.shape, ctx.contiguous = plan, rest, x.shape, integer_operands.comes_first(x)
        ((_, images, w, g),) = integer_operands.operands(data, weight, plan)
        s, place, totals = kernels.block_sums(images, w, g, rest.pool)
        count, unit = s[..., 0].numel(), integer_operands.unit_of(plan)
        mean, square = totals / count
        mean, variance = mean * unit, (square - mean * mean).clamp(min=0) * unit**2
        _update(rest.norm, mean, variance * (count / (count - 1)))
        inverse = 1 / (variance + rest.norm.eps).sqrt()
        gain = gamma.double() * inverse
        coefficients = torch.stack((gain * unit, beta.double() - mean * gain)).float()
        states = kernels.block_states(coefficients, s, rest.phi)
        ctx.save_for_backward(data, weight, s, place, coefficients, gain, mean, inverse)
        states = integer_operands.from_images(states, plan.dense, x.shape, ctx.contiguous)
        ctx.mark_non_differentiable(states)
        return torch.empty_like(states, dtype=torch.float32), states

    @staticmethod
    def backward(ctx, dy, _):
        products.refuse_double_backward()
        plan, rest = ctx.plan, ctx.rest
        data, weight, s, place, coefficients, gain, mean, inverse = ctx.saved_tensors
        dy, count, unit = integer_operands.as_images(dy, plan.dense), s[..., 0].numel(), integer_operands.unit_of(plan)
        of_g, of_gs = kernels.block_reduce(coefficients, s, dy, rest.phi)
        dgamma = (of_gs * unit - mean * of_g) * inverse
        by_y = -gain * inverse * dgamma / count
        others = torch.stack((gain, by_y * unit, -gain * of_g / count - by_y * mean)).float()
        coefficients = torch.cat((coefficients, others))

        pooled = None if place is None else integer_block.Pooled(rest.pool, place, rest.size)

        def rounded(number: int, per: str):
            return kernels.block_round(coefficients, s, dy, rest.phi, plan.bits, subkey(plan.key, number), per, pooled)

        return *products.gradients(ctx, data, weight, rounded, pooled), dgamma.float(), of_g.float(), None, None, None


def _update(norm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """The running statistics of batch norm."""
    if not norm.track_running_stats or norm.running_mean is None:
        return
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    for running, now in ((norm.running_mean, mean), (norm.running_var, variance)):
        running.copy_(running.double() * (1 - share) + now * share)
