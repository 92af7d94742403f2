"""What stands behind integer sums, folded: batch norm and activation to thresholds, batch norm to the scale of logits.

A sum x, an integer in [-bound, bound], is the float32 number x * unit to PyTorch; its channel's batch norm b and
the activation phi make it the state phi(b(x * unit)). Multiplying, adding and comparing float32 numbers never reverses
their order, so the state steps up, or where b falls down, at most once for each state but the first. Where it steps is
found by bisection that runs PyTorch's own operations: the thresholds are right on every integer, rounding included.
"""

from __future__ import annotations

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

    def rises(self) -> bool:
        """Whether no channel falls."""
        return bool((self.weight >= 0).all())

    def repeat(self, each: int) -> Norm:
        """The same for channels that have become so many features each."""
        tensors = (t.repeat_interleave(each) for t in (self.mean, self.var, self.weight, self.bias))
        return Norm(*tensors, self.eps)

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """float32 [channels] factor and offset, to the bit as PyTorch computes with them."""
        zero, one = torch.zeros(1, len(self.mean)), torch.ones(1, len(self.mean))
        factor = F.batch_norm(one, zero[0], self.var, self.weight, zero[0], training=False, eps=self.eps)
        return factor[0].numpy(), self(zero)[0].numpy()


def as_float(x: torch.Tensor, unit: Fraction) -> torch.Tensor:
    """float32: integers times the unit, as PyTorch rounds the quotient of an exact sum and a divisor."""
    return (x.double() * unit.numerator / unit.denominator).float()


@torch.no_grad()
def thresholds(
    norms: Sequence[Norm],
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
        level = activation(real).view(x.shape) * space.denominator
        return ((level + 1) / 2 if space.N == 0 else level + space.denominator).round().long()

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
def scale(norms: Sequence[Norm], unit: Fraction, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """(scale, bias) float32 [channels] such that norms(x * unit) = x * scale + bias but for float32 rounding."""
    total, offset = np.full(channels, float(unit)), np.zeros(channels)
    for norm in norms:
        factor, bias = norm.affine()
        total, offset = total * factor, offset * factor + bias
    return total.astype(np.float32), offset.astype(np.float32)
