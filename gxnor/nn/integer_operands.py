"""The operands of a layer's products as the kernels take them: bytes, images with channels last, weights as levels.

Integers of x that do not fit 8 bits are taken in parts, x = sum of factor * part: pixels as 16 high + low, which become
channels of their own and make one product, with weights of 16 W and W; others in digits of 7 bits, a product each.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from gxnor import native
from gxnor.nn import integer_kernels as kernels
from gxnor.nn import saved_formats
from gxnor.nn.codes import one_code
from gxnor.nn.integer import LARGEST_SUM, Geometry
from gxnor.nn.integer_block import Pooled
from gxnor.nn.parameter import DiscreteParameter
from gxnor.packing import storage_bits, unpack_bits
from gxnor.space import DiscreteSpace

BASE = 128  # of the digits of integers that do not fit int8
SPLIT = 16  # of those of pixels


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


def operands(data: torch.Tensor, weight: torch.Tensor, plan: Plan) -> Iterator[tuple]:
    """(factor, x, W, geometry) of every product of bytes; their sums, times the factors, add up to x * W."""
    images, w = as_images(plan.form.integers(data), plan.dense), levels(weight, plan)
    if _is_split(plan):
        yield 1, _split(images), torch.stack((w * SPLIT, w), 4).flatten(3), _split_geometry(plan)
        return
    for unit, bound, part in _digits(images, plan.form.top):
        yield unit, part, w, replace(plan.geometry, x_bound=bound)


def weight_gradient(q, x, scale, shape: torch.Size, plan: Plan, pooled: Pooled | None = None) -> torch.Tensor:
    """`integer.weight_gradient` of x in all its digits, of q after a pool where there was one."""
    if _is_split(plan):
        twice = torch.Size((*shape[:3], 2 * shape[3]))
        dw = _in_pieces(q, _split(x), scale, twice, _split_geometry(plan), pooled).unflatten(3, (shape[3], 2))
        return dw[..., 0] * SPLIT + dw[..., 1]
    parts = (
        _in_pieces(q, part, scale * unit, shape, replace(plan.geometry, x_bound=bound), pooled)
        for unit, bound, part in _digits(x, plan.form.top)
    )
    return functools.reduce(torch.Tensor.add_, parts)


def _in_pieces(q, x, scale, shape: torch.Size, g: Geometry, pooled: Pooled | None) -> torch.Tensor:
    """`integer.weight_gradient`, with as many images at a time as make sums that fit 32 bits."""
    terms = math.prod(kernels.output_shape(x.shape, shape, g)[1:3])
    step = LARGEST_SUM // (g.q_bound * g.x_bound * terms)
    parts = (
        kernels.weight_gradient(
            q[i : i + step], x[i : i + step], scale, shape, g, pooled and pooled.images(i, i + step)
        )
        for i in range(0, len(x), step)
    )
    return functools.reduce(torch.Tensor.add_, parts)


def output_shape(x: torch.Size, weight: torch.Size, plan: Plan) -> torch.Size:
    """Of the layer's output, as images."""
    return torch.Size(kernels.output_shape(image_shape(x, plan.dense), image_shape(weight, plan.dense), plan.geometry))


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


def levels(weight: torch.Tensor, plan: Plan) -> torch.Tensor:
    """`levels_reference`, by the native kernel where it applies."""
    library = native.library() if weight.device.type == "cpu" else None
    if library is None or not isinstance(weight, DiscreteParameter):
        return levels_reference(weight, plan)
    shape, table = image_shape(weight.shape, plan.dense), _byte_levels(plan.space)
    w = torch.empty(shape, dtype=torch.int8)
    sizes = shape[0], shape[3], shape[1] * shape[2]
    given = weight.packed.data_ptr(), table.shape[1], table.ctypes.data, *sizes, w.data_ptr(), torch.get_num_threads()
    return levels_reference(weight, plan) if library.gxnor_unpack_levels(*given) else w


def levels_reference(weight: torch.Tensor, plan: Plan) -> torch.Tensor:
    """The weights as int8 images of levels."""
    if not isinstance(weight, DiscreteParameter):
        return as_images((weight / weight_unit(plan)).to(torch.int8), plan.dense)
    return as_images(_levels_of(weight.indices().to(torch.int8), plan.space), plan.dense)


def _levels_of(index, space: DiscreteSpace):
    return 2 * index - 1 if space.N == 0 else index - space.denominator


@functools.cache
def _byte_levels(space: DiscreteSpace) -> np.ndarray:
    """int8 [256, states per byte]: the levels that each packed byte stands for."""
    bits = storage_bits(space.size)
    packed = one_code(torch.arange(256, dtype=torch.uint8), space).numpy()
    index = unpack_bits(packed, bits, 256 * 8 // bits).astype(np.int16)
    return _levels_of(index, space).clip(-128, 127).astype(np.int8).reshape(256, -1)  # beyond: no state


def comes_first(x: torch.Tensor) -> bool:
    """Whether channels come first in memory, as far as that can be told."""
    return x.is_contiguous() and not (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))


def unit_of(plan: Plan) -> float:
    """The value of a sum of 1."""
    return input_unit(plan) * weight_unit(plan)


def weight_unit(plan: Plan) -> float:
    """The value of level 1."""
    return plan.space.H / plan.space.denominator


def input_unit(plan: Plan) -> float:
    return 2.0**-plan.form.exponent


def as_images(t: torch.Tensor, dense: bool) -> torch.Tensor:
    """Input, output or weight of a layer as `gxnor.nn.integer` takes it: [N, H, W, C], contiguous."""
    if dense:
        return t.reshape(-1, 1, 1, t.shape[-1])
    return (t if t.dim() == 4 else t.unsqueeze(2)).permute(0, 2, 3, 1).contiguous()


def image_shape(shape: torch.Size, dense: bool) -> torch.Size:
    """What `as_images` makes of a shape."""
    if dense:
        return torch.Size((shape[:-1].numel(), 1, 1, shape[-1]))
    n, channels, *size = shape
    return torch.Size((n, *(size if len(size) == 2 else (1, *size)), channels))


def from_images(t: torch.Tensor, dense: bool, like: torch.Size, contiguous: bool) -> torch.Tensor:
    """The way back, to as many dimensions as `like` has; channels last in memory unless contiguous."""
    if dense:
        return t.view(*like[:-1], t.shape[-1])
    t = t.permute(0, 3, 1, 2)
    t = t if len(like) == 4 else t.squeeze(2)
    return t.contiguous() if contiguous else t
