"""Real inputs (standardised features, audio, sensors) rounded to integers of a stated number of levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from gxnor.space import DiscreteSpace


class Quantize(nn.Module):
    """The input layer of a network that takes real numbers. Feature (channel) c becomes one of 2^N + 1 levels,

        index = round((x - low[c]) * scale[c]), halves to even, kept in 0 .. 2^N,    scale[c] = 2^N / (high[c] - low[c])
        y     = index - 2^(N-1)

    in float32, as an integral float: level 0 stands for the middle between low and high. The exported program takes the
    floats and does the same, bit for bit.

    Args:
        low, high: a number, or one per feature, the first axis of a sample; values beyond them are clipped.
        N: from 1 (3 levels) to 7 (129 levels).

    Raises ValueError for other settings, and in `forward` for NaN.
    """

    low: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, low: float | Sequence[float] | torch.Tensor, high: float | Sequence[float] | torch.Tensor, N: int = 7
    ):
        super().__init__()
        self.space = DiscreteSpace(N)
        least, most = torch.broadcast_tensors(
            torch.as_tensor(low, dtype=torch.float64), torch.as_tensor(high, dtype=torch.float64)
        )
        if (
            N < 1
            or least.dim() > 1
            or not (torch.isfinite(least).all() and torch.isfinite(most).all() and (least < most).all())
        ):
            raise ValueError(
                f"expected N from 1 to 7 and low < high, numbers or one per feature, got N={N}, {least}, {most}"
            )
        self.register_buffer("low", least.float().reshape(-1).clone())
        self.register_buffer("scale", (2**N / (most - least)).float().reshape(-1).clone())

    @classmethod
    def of(cls, x: torch.Tensor, N: int = 7) -> Quantize:
        """With the least and the largest value of every feature of training data x (batch, features, ...); a feature that
        never changes gets a range of 1 around its value."""
        flat = x.detach().double().transpose(0, 1).flatten(1)
        low, high = flat.amin(1), flat.amax(1)
        still = low == high
        return cls(torch.where(still, low - 0.5, low), torch.where(still, high + 0.5, high), N)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_compiling() and x.isnan().any():
            raise ValueError("expected real numbers, got NaN: fill in what is missing first")
        each = (-1, *(1,) * (x.dim() - 2))
        index = torch.round((x.float() - self.low.view(each)) * self.scale.view(each))
        return index.clamp(0, self.space.size - 1) - self.space.denominator

    def extra_repr(self) -> str:
        return f"{self.space.size} levels"
