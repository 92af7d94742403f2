"""A layer's scale and bias, taken in by the batch norm after it.

A layer that put out x now puts out x' = (x - b) / s. The norm computes gamma (x - mean) / sqrt(var + eps) + beta, so it
is to have mean' = (mean - b) / s and var' + eps = (var + eps) / s^2. Where var' would be negative it is 0, and gamma takes
the rest. No state_dict holds eps, so it stays; a norm without gamma, or without running statistics, gets eps / s^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.modules.batchnorm import _BatchNorm

LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class Rescaling:
    """What is to become of a norm: its eps, its running statistics, and factors of its gamma."""

    eps: float
    mean: torch.Tensor | None = None
    var: torch.Tensor | None = None
    gain: torch.Tensor | None = None

    def apply(self, norm: _BatchNorm) -> None:
        norm.eps = self.eps
        if self.mean is None or self.var is None or norm.running_mean is None or norm.running_var is None:
            return
        if norm.running_var.dtype.itemsize < 4:  # its range or its precision may not do for sums of states
            norm.float()
        norm.running_mean.copy_(self.mean)
        norm.running_var.copy_(self.var)
        if self.gain is not None:
            norm.weight.mul_(self.gain)


def rescaling(norm: _BatchNorm, bias: torch.Tensor | None, s: float) -> Rescaling:
    """Raises ValueError where what the norm is to have is beyond float32."""
    square = s * s
    if norm.eps > LARGEST * square:
        raise ValueError(f"eps = {norm.eps:g} is too large beside weights of {s:.0e}: eps / scale^2 is beyond float32")
    if norm.running_mean is None or norm.running_var is None:
        return Rescaling(norm.eps / square)
    mean = (norm.running_mean.double() - (0 if bias is None else bias.double())) / s
    var, total = norm.running_var.double() / square, (norm.running_var.double() + norm.eps) / square
    if not max(mean.abs().max().item(), total.max().item()) <= LARGEST:
        raise ValueError(
            f"running statistics are too large beside weights of {s:.0e}: rescaled, they are beyond float32"
        )
    if (total >= norm.eps).all():
        return Rescaling(norm.eps, mean, total - norm.eps)
    if not norm.affine:
        return Rescaling(norm.eps / square, mean, var)
    gain = torch.where(total < norm.eps, (norm.eps / total).sqrt(), 1)
    return Rescaling(norm.eps, mean, (total - norm.eps).clamp(min=0), gain)
