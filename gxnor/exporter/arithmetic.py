"""Sums of values, concatenations, and arithmetic with constants."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from gxnor.errors import GxnorError
from gxnor.exporter import folding
from gxnor.exporter.builder import EXACT, Builder
from gxnor.exporter.layers import as_float
from gxnor.exporter.tensors import UNKNOWN, Tensor, known, power_of_two
from gxnor.program.ops import NEVER, Add, Concat


def add(build: Builder, a, b, alpha=1) -> Tensor:
    if alpha not in (1, -1):
        raise GxnorError(f"expected alpha=1, got {alpha}")
    if not isinstance(a, Tensor) and a is not UNKNOWN:
        return add(build, b, a) if alpha == 1 else negative(build, subtract(build, b, a))
    if not isinstance(b, Tensor) and b is not UNKNOWN:
        return _step(build, a, torch.add if alpha == 1 else torch.sub, b)
    (first, second), unit, factors = _common(build, [known(a), known(b)])
    y = build.emit(Add((first.number, second.number), (factors[0], alpha * factors[1])), unit, first, second)
    build.sums[y.number] = first, second
    return y


def subtract(build: Builder, a, b, alpha=1) -> Tensor:
    return add(build, a, b, -alpha)


def negative(build: Builder, x) -> Tensor:
    if known(x).norms or x.later:
        return _step(build, x, torch.mul, -1)
    return build.emit(Add((x.number, x.number), (-1, 0)), x.unit, x)


def concat(build: Builder, tensors, dim=0) -> Tensor:
    given = [known(x) for x in tensors]
    if dim % (len(given[0].shape) + 1) != 1:
        raise GxnorError(f"expected to concatenate channels, dim=1, got dim={dim}")
    parts, unit, factors = _common(build, given)
    scaled = [
        x if factor == 1 else build.emit(Add((x.number, x.number), (factor, 0)), unit, x)
        for x, factor in zip(parts, factors, strict=True)
    ]
    return build.emit(Concat(tuple(x.number for x in scaled)), unit, *scaled) if len(scaled) > 1 else scaled[0]


def _common(build: Builder, parts: list[Tensor]) -> tuple[list[Tensor], Fraction, list[int]]:
    """The parts as integers, one unit for all, and how many of it a part's own unit is."""
    parts = [build.settled(x) for x in parts]
    if real := [build.fixed_unit(x) for x in parts if x.norms]:
        parts = [build.requantize(x, max(real)) if x.norms else x for x in parts]
    common = math.lcm(*(x.unit.denominator for x in parts))
    unit = Fraction(math.gcd(*(int(x.unit * common) for x in parts)), common)
    if sum(x.unit / unit * build.values[x.number].bound for x in parts) < NEVER:
        return parts, unit, [int(x.unit / unit) for x in parts]
    unit = max(build.fixed_unit(x) for x in parts)
    return [build.requantize(x, unit) for x in parts], unit, [1] * len(parts)


def expanded(build: Builder, constant, x) -> torch.Tensor:
    """A constant as large as x: arithmetic with it needs but one number per channel."""
    if not isinstance(constant, torch.Tensor):
        raise GxnorError("expected a constant, for a value has its own size: nn.Upsample copies places")
    return constant


def multiply(build: Builder, a, b) -> Tensor:
    """By a number: pixels to [-1, 1], for one."""
    return _scaled(build, b, a, 1) if not isinstance(a, Tensor) and a is not UNKNOWN else _scaled(build, a, b, 1)


def divide(build: Builder, x, number) -> Tensor:
    if isinstance(x, Tensor) and x.pixels:
        x = as_float(build, x)
    return _scaled(build, x, number, -1)


def _scaled(build: Builder, x, number, power: int) -> Tensor:
    plain = isinstance(number, int | float) and 0 < np.float32(number) < math.inf
    if not plain or known(x).norms:
        return _step(build, x, torch.mul if power == 1 else torch.div, number)
    rounding = x.rounding
    if not power_of_two(x.unit):
        build.rounded[build.at] = None  # for a second time
        rounding += 2 / EXACT
    return replace(x, unit=x.unit * Fraction(float(np.float32(number))) ** power, rounding=rounding)


def _step(build: Builder, x, function, constant) -> Tensor:
    """Real arithmetic with a constant, a number or one per channel, kept aside as a batch norm is."""
    x = build.settled(known(x))
    if isinstance(constant, int | float):
        constant = torch.tensor(float(constant))
    if not isinstance(constant, torch.Tensor):
        raise GxnorError(
            "multiplies or divides two values: expected a value and a constant, for a product of two has no form here: add "
            "them, or concatenate them"
        )
    channels, dims = x.shape[0], len(x.shape)
    shape = constant.shape[-dims:]
    if constant.numel() not in (1, channels) or (constant.numel() > 1 and (len(shape) < dims or shape[0] != channels)):
        raise GxnorError(
            f"expected a number or one per channel, (1, {channels}, 1, 1), got a tensor {tuple(constant.shape)}"
        )
    constant = constant.detach().float().reshape(-1).expand(channels).contiguous()
    if not torch.isfinite(constant).all() or (function is torch.div and (constant == 0).any()):
        raise GxnorError("expected a finite constant, and none of 0 to divide by")
    return replace(x, norms=(*x.norms, folding.Arithmetic(function, constant)))
