"""What stands after integer sums, folded: batch norm and activation to thresholds, batch norm to the scale of logits.

A sum x, an integer in [-bound, bound], is the float32 number x * unit to PyTorch; its channel's batch norm b and
the activation phi make it the state phi(b(x * unit)). Multiplying, adding and comparing float32 numbers never reverses
their order, so the state steps up, or where b falls down, at most once for each state but the first. Where it steps is
found by bisection that runs PyTorch's own operations: the thresholds are right on every integer, rounding included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gxnor.errors import GxnorError
from gxnor.program.ops import ALWAYS, NEVER
from gxnor.space import DiscreteSpace


@dataclass(frozen=True, eq=False)
class Norm:
    """Batch norm in evaluation mode: (x - mean) / sqrt(var + eps) * weight + bias, all float32 [channels]."""

    mean: torch.Tensor
    var: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    @classmethod
    def of(cls, module: nn.modules.batchnorm._BatchNorm) -> Norm:
        mean, var = module.running_mean, module.running_var
        assert mean is not None and var is not None  # `norm` refuses a norm without them
        weight = torch.ones_like(mean) if module.weight is None else module.weight.detach()
        bias = torch.zeros_like(mean) if module.bias is None else module.bias.detach()
        return cls(mean, var, weight, bias, module.eps)

    @classmethod
    def adding(cls, bias: torch.Tensor) -> Norm:
        """A layer's bias: the batch norm that multiplies by 1, which is exact."""
        bias = bias.detach()
        return cls(torch.zeros_like(bias), torch.ones_like(bias), torch.ones_like(bias), bias, 0.0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, self.mean, self.var, self.weight, self.bias, training=False, eps=self.eps)

    def pick(self, order: torch.Tensor) -> Norm:
        """The same for those channels, in that order."""
        return Norm(self.mean[order], self.var[order], self.weight[order], self.bias[order], self.eps)

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """float32 [channels] factor and offset, to the bit as PyTorch computes with them."""
        zero, one = torch.zeros(1, len(self.mean)), torch.ones(1, len(self.mean))
        factor = F.batch_norm(one, zero[0], self.var, self.weight, zero[0], training=False, eps=self.eps)
        return factor[0].numpy(), self(zero)[0].numpy()


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """x + t, x - t, x * t or x / t with a constant per channel, float32 [channels]."""

    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    constant: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.constant.view(-1, *(1,) * (x.dim() - 2)))

    def pick(self, order: torch.Tensor) -> Arithmetic:
        return Arithmetic(self.function, self.constant[order])

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        zero = torch.zeros_like(self.constant)
        offset = self.function(zero, self.constant)
        factor = zero + 1 if self.function in (torch.add, torch.sub) else self.function(zero + 1, self.constant)
        return factor.numpy(), offset.numpy()


Step = Norm | Arithmetic


def as_float(x: torch.Tensor, unit: Fraction) -> torch.Tensor:
    """float32: integers times the unit, as PyTorch rounds the quotient of an exact sum and a divisor."""
    return (x.double() * unit.numerator / unit.denominator).float()


def indices(values: torch.Tensor, space: DiscreteSpace) -> torch.Tensor:
    """int64: which state of the space, from the lowest one on, each of the values is."""
    level = values * space.denominator
    return ((level + 1) / 2 if space.N == 0 else level + space.denominator).round().long()


@torch.no_grad()
def thresholds(
    norms: Sequence[Step],
    activation: Callable[[torch.Tensor], torch.Tensor],
    space: DiscreteSpace,
    unit: Fraction,
    shape: tuple[int, ...],
    bound: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(thresholds int32 [channels, states - 1], sign int8 [channels]) of a `gxnor.program.ops.Threshold`.

    Args:
        norms: applied in this order, before the activation.
        activation: float tensor -> values in `space`.
        unit: the real number that the integer 1 stands for.
        shape: of the sums, (channels, ...), without the batch.
        bound: the largest |sum|.

    Raises GxnorError where batch norm gives NaN."""
    channels, dims = shape[0], (1,) * (len(shape) - 1)

    def states(x: torch.Tensor) -> torch.Tensor:
        """int64 state indices of int64 sums, both [n, channels]."""
        real = as_float(x, unit).view(*x.shape, *dims)
        for norm in norms:
            real = norm(real)
        if real.isnan().any():
            raise GxnorError("the batch norm before it gives NaN: its statistics or parameters are not finite")
        return indices(activation(real).view(x.shape), space)

    lowest, highest = states(torch.full((2, channels), bound) * torch.tensor([[-1], [1]]))
    sign = torch.where(lowest > highest, -1, 1)
    state = torch.arange(1, space.size)[:, None]
    below = torch.full((space.size - 1, channels), -bound - 1)  # sums that do not reach the state
    reach = torch.full((space.size - 1, channels), bound + 1)  # sums that do, or bound + 1 where none does
    while (open_ := reach - below > 1).any():
        middle = torch.where(open_, (below + reach) // 2, 0)
        hit = states(sign * middle) >= state
        reach, below = torch.where(open_ & hit, middle, reach), torch.where(open_ & ~hit, middle, below)
    reach[reach == -bound], reach[reach == bound + 1] = ALWAYS, NEVER
    return np.ascontiguousarray(reach.T.numpy().astype(np.int32)), sign.numpy().astype(np.int8)


@torch.no_grad()
def affine(norms: Sequence[Step], unit: Fraction, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """(scale, bias) float64 [channels] such that norms(x * unit) = x * scale + bias but for float32 rounding."""
    total, offset = np.full(channels, float(unit)), np.zeros(channels)
    for norm in norms:
        factor, bias = norm.affine()
        total, offset = total * factor, offset * factor + bias
    if not (np.isfinite(total).all() and np.isfinite(offset).all()):
        raise GxnorError("the batch norm before it gives NaN or infinity")
    return total, offset


def natural_unit(scale: np.ndarray, bias: np.ndarray, bound: int, most: int) -> Fraction:
    """The finest power of two in which no x * scale + bias, |x| <= bound, is more than `most` units."""
    reach = float((np.abs(scale) * bound + np.abs(bias)).max())
    return Fraction(2) ** math.ceil(math.log2(max(reach, 2.0**-60) / most))


def fixed_point(
    scale: np.ndarray, bias: np.ndarray, bound: int, unit: Fraction
) -> tuple[int, np.ndarray, np.ndarray, float]:
    """(shift, multiplier, offset) of a `gxnor.program.ops.Requantize` that makes x * scale + bias, |x| <= bound, the nearest
    integers of this unit, and how far off they can be, in that unit: half of it, and what the rounding of the multiplier
    adds at the largest x."""
    scale, bias = scale / float(unit), bias / float(unit)
    largest = float(np.abs(scale).max())
    room = 61 - math.ceil(math.log2(float((np.abs(scale) * bound + np.abs(bias)).max()) + 2))
    shift = max(0, min(30 - math.ceil(math.log2(max(largest, 2.0**-60))), room, 61))
    multiplier = np.rint(scale * 2.0**shift).astype(np.int32)
    half = 2 ** (shift - 1) if shift else 0
    offset = np.rint(bias * 2.0**shift).astype(np.int64) + half
    return shift, multiplier, offset, 0.5 + (bound + 1) / 2.0 ** (shift + 1)
