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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import nn

from gxnor.nn import integer_kernels as kernels
from gxnor.nn import saved_formats
from gxnor.nn.integer import FLOAT_EXACT, LARGEST_SUM, Geometry
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.stream import subkey
from gxnor.space import DiscreteSpace

BASE = 128  # of the digits of integers that do not fit int8
SPLIT = 16  # of those of pixels

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


@dataclass(frozen=True)
class Plan:
    """What a product is told beside its tensors."""

    name: str
    dense: bool  # or a convolution
    bits: int
    key: int
    form: saved_formats.Form  # of the input
    space: DiscreteSpace  # of the weights
    geometry: Geometry


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
        reason = _overflow(_image_shape(x.shape, dense), _image_shape(layer.weight.shape, dense), g)
    note = now.notes.pop(layer, "")
    now.layers.append((name, f"float: {reason}" if reason else f"integer{note}"))
    return None if reason else (data, Plan(name, dense, now.gradient_bits, key, form, layer.space, g))


def hold(x: torch.Tensor, data: torch.Tensor, form: saved_formats.Form) -> torch.Tensor:
    """x, with its small form beside it for as long as it is not written to."""
    x._held = x._version, data, form  # type: ignore[attr-defined]
    return x


def held_by(x: torch.Tensor) -> tuple[torch.Tensor, saved_formats.Form] | None:
    """What `hold` put beside x, unless x is to be saved in fewer bits."""
    version, *held = getattr(x, "_held", (None, None))
    return tuple(held) if version == x._version and not saved_formats.is_on() else None


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


def gradients(ctx, data: torch.Tensor, weight: torch.Tensor, rounded: Callable):
    """(dX, dW), where needed, from rounded(0, "sample") and rounded(1, "channel"), the gradient of the sums as integers and
    their scales. ctx has the plan, the shape of x, and whether its channels come first in memory."""
    plan, dx, dw = ctx.plan, None, None
    try:
        if ctx.needs_input_grad[0]:
            q, scale = rounded(0, "sample")
            shape = _image_shape(ctx.shape, plan.dense)
            dx = kernels.input_gradient(q, _levels(weight, plan), scale.mul_(_weight_unit(plan)), shape, plan.geometry)
            dx = from_images(dx, plan.dense, ctx.shape, ctx.contiguous)
        if ctx.needs_input_grad[1]:
            q, scale = rounded(1, "channel")
            x, shape = as_images(plan.form.integers(data), plan.dense), _image_shape(weight.shape, plan.dense)
            dw = _weight_gradient(q, x, scale.mul_(_input_unit(plan)), shape, plan)
            dw = from_images(dw, plan.dense, weight.shape, True)
    except FloatingPointError:
        raise FloatingPointError(
            f"the gradient of the output of layer {plan.name} is not finite; its weights have not moved. "
            "A lower learning rate, or a look at the loss and the data, is the usual mend"
        ) from None
    return dx, dw


def operands(data: torch.Tensor, weight: torch.Tensor, plan: Plan) -> Iterator[tuple]:
    """(factor, x, W, geometry) of every product of bytes; their sums, times the factors, add up to x * W."""
    images, w = as_images(plan.form.integers(data), plan.dense), _levels(weight, plan)
    if _is_split(plan):
        yield 1, _split(images), torch.stack((w * SPLIT, w), 4).flatten(3), _split_geometry(plan)
        return
    for unit, bound, part in _digits(images, plan.form.top):
        yield unit, part, w, replace(plan.geometry, x_bound=bound)


def _weight_gradient(q, x, scale, shape: torch.Size, plan: Plan) -> torch.Tensor:
    """`integer.weight_gradient` of x in all its digits."""
    if _is_split(plan):
        twice = torch.Size((*shape[:3], 2 * shape[3]))
        dw = _in_pieces(q, _split(x), scale, twice, _split_geometry(plan)).unflatten(3, (shape[3], 2))
        return dw[..., 0] * SPLIT + dw[..., 1]
    parts = (
        _in_pieces(q, part, scale * unit, shape, replace(plan.geometry, x_bound=bound))
        for unit, bound, part in _digits(x, plan.form.top)
    )
    return reduce(torch.Tensor.add_, parts)


def _in_pieces(q, x, scale, shape: torch.Size, g: Geometry) -> torch.Tensor:
    """`integer.weight_gradient`, with as many images at a time as make sums that fit 32 bits."""
    step = LARGEST_SUM // (g.q_bound * g.x_bound * q[0, ..., 0].numel())
    parts = zip(q.split(step), x.split(step), strict=True)
    return reduce(torch.Tensor.add_, (kernels.weight_gradient(*part, scale, shape, g) for part in parts))


def output_shape(x: torch.Size, weight: torch.Size, plan: Plan) -> torch.Size:
    """Of the layer's output, as images."""
    return torch.Size(
        kernels.output_shape(_image_shape(x, plan.dense), _image_shape(weight, plan.dense), plan.geometry)
    )


def is_one_product(plan: Plan) -> bool:
    """Whether `operands` are one pair."""
    return plan.form.top <= 127 or _is_split(plan)


def _is_split(plan: Plan) -> bool:
    """Whether x = 16 * high + low, both in 5 bits, and 16 times the levels of its weights in bytes: pixels."""
    return 127 < plan.form.top <= 255 and plan.geometry.w_bound < 128 // SPLIT


def _split(x: torch.Tensor) -> torch.Tensor:
    """int8 [..., 2 * channels]: high and low of every channel, each a channel of its own."""
    return torch.stack((x >> 4, x & (SPLIT - 1)), 4).to(torch.int8).flatten(3)


def _split_geometry(plan: Plan) -> Geometry:
    return replace(plan.geometry, x_bound=SPLIT, w_bound=SPLIT * plan.geometry.w_bound)


def _digits(x: torch.Tensor, top: int) -> list[tuple[int, int, torch.Tensor]]:
    """[(unit, bound, int8 like x), ...] whose sum, times the units, is x, in which no |m| is larger than top."""
    digits, unit, x = [], 1, x.int() if top > 127 else x
    while top > 127:
        low = ((x + BASE // 2) % BASE) - BASE // 2
        digits.append((unit, BASE // 2, low.to(torch.int8)))
        x, top, unit = (x - low) // BASE, (top + BASE // 2) // BASE, unit * BASE
    return [*digits, (unit, top, x.to(torch.int8))]


def _levels(weight: torch.Tensor, plan: Plan) -> torch.Tensor:
    """The weights as int8 images of levels."""
    space = plan.space
    if isinstance(weight, DiscreteParameter):
        index = weight.indices().to(torch.int8)
        level = index.mul_(2).sub_(1) if space.N == 0 else index.sub_(space.denominator)
    else:
        level = (weight / _weight_unit(plan)).to(torch.int8)
    return as_images(level, plan.dense)


def comes_first(x: torch.Tensor) -> bool:
    """Whether channels come first in memory, as far as that can be told."""
    return x.is_contiguous() and not (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))


def unit_of(plan: Plan) -> float:
    """The value of a sum of 1."""
    return _input_unit(plan) * _weight_unit(plan)


def _weight_unit(plan: Plan) -> float:
    """The value of level 1."""
    return plan.space.H / plan.space.denominator


def _input_unit(plan: Plan) -> float:
    return 2.0**-plan.form.exponent


def as_images(t: torch.Tensor, dense: bool) -> torch.Tensor:
    """Input, output or weight of a layer as `gxnor.nn.integer` takes it: [N, H, W, C], contiguous."""
    if dense:
        return t.reshape(-1, 1, 1, t.shape[-1])
    return (t if t.dim() == 4 else t.unsqueeze(2)).permute(0, 2, 3, 1).contiguous()


def _image_shape(shape: torch.Size, dense: bool) -> torch.Size:
    return as_images(torch.empty(shape, device="meta"), dense).shape


def from_images(t: torch.Tensor, dense: bool, like: torch.Size, contiguous: bool) -> torch.Tensor:
    """The way back, to as many dimensions as `like` has; channels last in memory unless contiguous."""
    if dense:
        return t.view(*like[:-1], t.shape[-1])
    t = t.permute(0, 3, 1, 2)
    t = t if len(like) == 4 else t.squeeze(2)
    return t.contiguous() if contiguous else t
