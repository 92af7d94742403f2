"""Training on integers: layers whose products, forward and backward, are sums of small integers.

    with gxnor.nn.integer_arithmetic(gradient_bits=6, key=step) as arithmetic:
        loss = criterion(model(x), y)
    loss.backward()
    print(arithmetic)                                   which layers did it, and why the others did not

In this context the layers of gxnor.nn take their input as integers. Forward sums are those of float arithmetic, to the
bit. In the backward pass the gradient is rounded stochastically to `gradient_bits` bits and multiplied as integers, see
`gxnor.nn.integer`. A layer that cannot, for real input, say, does what it does outside of the context, and so do all
layers under autocast and torch.compile.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import torch
from torch import nn

from gxnor.nn import integer_kernels as kernels
from gxnor.nn import saved_formats
from gxnor.nn.integer import FLOAT_EXACT, LARGEST_SUM, Geometry
from gxnor.nn.integer_block import Pooled
from gxnor.nn.integer_operands import (
    Plan,
    as_images,
    comes_first,
    from_images,
    image_shape,
    input_unit,
    levels,
    operands,
    unit_of,
    weight_gradient,
    weight_unit,
)
from gxnor.nn.stream import subkey

state = threading.local()  # state.now is the innermost context that is open


class integer_arithmetic:
    """The context manager; see the module's text. It matters for the forward pass alone, backward may run outside.

    Args:
        gradient_bits: 2 to 8, to which gradients are rounded.
        key: what the draws are a function of: an integer, another one for every step, or a torch.Generator that draws
            it; by default torch's global one does.
        model: the module by whose names layers are called in messages.

    `layers` has, for every call of a layer so far, its name and "integer" or why not. Raises ValueError for impossible
    bits. The backward pass raises FloatingPointError, naming the layer, for a gradient that is NaN or infinite, before
    the layer's weights move, and RuntimeError where it is to be differentiated itself (create_graph=True).
    """

    def __init__(
        self, gradient_bits: int = 6, key: int | torch.Generator | None = None, model: nn.Module | None = None
    ):
        if isinstance(gradient_bits, bool) or not isinstance(gradient_bits, int) or not 2 <= gradient_bits <= 8:
            raise ValueError(f"gradient_bits must be an integer from 2 to 8, got {gradient_bits!r}")
        if not isinstance(key, int):
            key = int(torch.randint(-(2**63), 2**63 - 1, (), generator=key))
        self.gradient_bits, self.key = gradient_bits, key
        self.names = {} if model is None else {module: name for name, module in model.named_modules()}
        self.layers: list[tuple[str, str]] = []
        self.notes: dict[nn.Module, str] = {}  # of layers whose turn is next: what to add to "integer"

    def __enter__(self) -> integer_arithmetic:
        self.before = getattr(state, "now", None)
        state.now = self
        return self

    def __exit__(self, *exception) -> None:
        state.now = self.before

    def __str__(self) -> str:
        width = max((len(name) for name, _ in self.layers), default=0)
        return "\n".join(f"{name:{width}}  {what}" for name, what in self.layers)


def multiply(layer, x: torch.Tensor, stride=(1,), padding=(0,), dilation=(1,), groups=1) -> torch.Tensor | None:
    """The layer's x * W, where integer arithmetic is on and possible; else None."""
    planned = make_plan(layer, x, stride, padding, dilation, groups) if is_on() else None
    return _Product.apply(x, layer.effective_weight(), *planned) if planned else None


def is_on() -> bool:
    """Whether a forward pass that runs now is in integer arithmetic."""
    return not torch.compiler.is_compiling() and getattr(state, "now", None) is not None


def make_plan(layer, x: torch.Tensor, stride=(1,), padding=(0,), dilation=(1,), groups=1):
    """(what holds x, the plan of its product with the layer's weights), or None; writes down which in `layers`."""
    now: integer_arithmetic = state.now
    name = now.names.get(layer) or f"{type(layer).__name__}{tuple(layer.weight.shape)}"
    key, reason, held = subkey(now.key, len(now.layers)), _obstacle(layer, x, padding), None
    if not reason:
        held = held_by(x) or saved_formats.integers(
            x.detach() if saved_formats.is_dense(x) else x.detach().contiguous(), 1 if saved_formats.is_on() else 8
        )
        reason = "" if held else "its input is not small integers times a power of two"
    if held:
        (data, form), dense = held, isinstance(layer, nn.Linear)
        strides, zeros, apart = [(default, *n)[-2:] for default, n in ((1, stride), (0, padding), (1, dilation))]
        g = Geometry(strides, zeros, apart, groups, form.top, layer.space.denominator, 2 ** (now.gradient_bits - 1) - 1)
        reason = _overflow(image_shape(x.shape, dense), image_shape(layer.weight.shape, dense), g)
    note = now.notes.pop(layer, "")
    now.layers.append((name, f"float: {reason}" if reason else f"integer{note}"))
    return None if reason else (data, Plan(name, dense, now.gradient_bits, key, form, layer.space, g))


def hold(x: torch.Tensor, data: torch.Tensor, form: saved_formats.Form) -> torch.Tensor:
    """x, with its small form beside it for as long as it is not written to."""
    x._held = x._version, data, form  # type: ignore[attr-defined]
    return x


def held_by(x: torch.Tensor) -> tuple[torch.Tensor, saved_formats.Form] | None:
    """What `hold` put beside x: bytes, also where inputs are to be saved in bits, which would take longer to make."""
    if x.is_inference():  # which does not tell whether it has been written to
        return None
    version, *held = getattr(x, "_held", (None, None))
    return tuple(held) if version == x._version else None


def _obstacle(layer, x: torch.Tensor, padding) -> str:
    """Why the layer cannot take integers, as far as can be told without a look at the values."""
    if torch.is_autocast_enabled(x.device.type):
        return "autocast is on"
    if x.dtype != torch.float32 or layer.weight.dtype != torch.float32:
        return f"input of {x.dtype} and weights of {layer.weight.dtype}, expected float32"
    if padding is None:
        return "its padding is not zeros, as many on either side"
    if math.frexp(layer.space.H)[0] != 0.5:
        return f"the range of its weights, H = {layer.space.H:g}, is not a power of two"
    batched = x.dim() >= 2 if isinstance(layer, nn.Linear) else x.dim() == layer.weight.dim()
    return "" if type(x) is torch.Tensor and batched and x.numel() else "its input is not a batch"


def _overflow(x: torch.Size, w: torch.Size, g: Geometry) -> str:
    """Why the sums may be too large."""
    if g.x_bound * g.w_bound * w[1:].numel() > FLOAT_EXACT:
        return "its sums may leave 2^24, up to which float32 is exact"
    input_terms, weight_terms = w[:3].numel() // g.groups, math.prod(kernels.output_shape(x, w, g)[1:3])
    if g.q_bound * max(g.w_bound * input_terms, min(g.x_bound, 127) * weight_terms) > LARGEST_SUM:
        return "the sums of its gradients may leave 32 bits"
    return ""


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, data, plan):
        ctx.plan, ctx.shape = plan, x.shape
        ctx.contiguous = comes_first(x)
        ctx.save_for_backward(data, weight)
        y = None
        for factor, images, w, g in operands(data, weight, plan):
            some = kernels.sums(images, w, g)
            y = some if y is None else y.add_(some, alpha=factor)
        unit = unit_of(plan)
        return from_images(y if unit == 1 else y.mul_(unit), plan.dense, x.shape, ctx.contiguous)

    @staticmethod
    def backward(ctx, dy):
        refuse_double_backward()
        plan, (data, weight) = ctx.plan, ctx.saved_tensors
        dy = as_images(dy, plan.dense)

        def rounded(number: int, per: str):
            return kernels.quantize(dy, plan.bits, subkey(plan.key, number), per)

        return *gradients(ctx, data, weight, rounded), None, None


def refuse_double_backward() -> None:
    """Raises RuntimeError in a backward pass that is itself to be differentiated."""
    if torch.is_grad_enabled():
        raise RuntimeError("integer_arithmetic saves no tensors for create_graph=True; run the forward pass without it")


def gradients(ctx, data: torch.Tensor, weight: torch.Tensor, rounded: Callable, pooled: Pooled | None = None):
    """(dX, dW), where needed, from rounded(0, "sample") and rounded(1, "channel"), the gradient of the sums as integers and
    their scales, after a pool where there was one. ctx has the plan, the shape of x, and whether its channels come first in
    memory."""
    plan, dx, dw = ctx.plan, None, None
    try:
        if ctx.needs_input_grad[0]:
            dx = _input_gradient(rounded(0, "sample"), pooled, weight, ctx.shape, plan)
            dx = from_images(dx, plan.dense, ctx.shape, ctx.contiguous)
        if ctx.needs_input_grad[1]:
            dw = _weight_gradient(rounded(1, "channel"), pooled, data, weight.shape, plan)
    except FloatingPointError:
        raise FloatingPointError(
            f"the gradient of the output of layer {plan.name} is not finite; its weights have not moved. "
            "A lower learning rate, or a look at the loss and the data, is the usual mend"
        ) from None
    return dx, dw


def _input_gradient(rounded: tuple, pooled: Pooled | None, weight: torch.Tensor, shape: torch.Size, plan: Plan):
    """As images. In a function of its own, so that q is gone before the next one is made; so is the next function."""
    (q, scale), w = rounded, levels(weight, plan)
    scale = scale.mul_(weight_unit(plan))
    return kernels.input_gradient(q, w, scale, image_shape(shape, plan.dense), plan.geometry, pooled)


def _weight_gradient(rounded: tuple, pooled: Pooled | None, data: torch.Tensor, shape: torch.Size, plan: Plan):
    (q, scale), x = rounded, as_images(plan.form.integers(data), plan.dense)
    dw = weight_gradient(q, x, scale.mul_(input_unit(plan)), image_shape(shape, plan.dense), plan, pooled)
    return from_images(dw, plan.dense, shape, True)
