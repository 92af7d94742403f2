"""Linear, Conv1d and Conv2d whose weights are states of Z_N.

Torch's own arguments, and two more: N and H, the space of the weights. `weight` is a `DiscreteParameter`. There is no bias
unless asked for: a real bias is no discrete weight, and the batch norm that follows has one. With `latent=True` the
weight is an ordinary float parameter, kept within [-H, H] and projected to Z_N on every forward pass, with the gradient
passed straight through: the baseline of BinaryConnect (Courbariaux et al., arXiv 1511.00363), which holds the
full-precision weights that DST does without.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from gxnor.nn.parameter import DiscreteParameter
from gxnor.space import DiscreteSpace


class _Project(torch.autograd.Function):
    """Nearest state forward, identity backward."""

    @staticmethod
    def forward(ctx, weight, space):
        if space.N == 0:
            return torch.where(weight >= 0, space.H, -space.H).to(weight.dtype)
        level = torch.floor(weight.abs() / space.step + 0.5).clamp_(max=space.denominator)
        return torch.copysign(level * space.step, weight)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class _Linear(torch.autograd.Function):
    """x W^T for packed W: unlike F.linear, what it saves for backward is W packed, not its float values."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight.values(x.dtype))

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        dx = dy @ weight.values(dy.dtype) if ctx.needs_input_grad[0] else None
        dw = dy.flatten(0, -2).t() @ x.flatten(0, -2) if ctx.needs_input_grad[1] else None
        return dx, None if dw is None else dw.to(weight.dtype)


class DiscreteLayer:
    """What the discrete layers share; mixed into torch's layer classes."""

    space: DiscreteSpace
    latent: bool

    def _make_discrete(self, N: int, H: float, latent: bool) -> None:
        self.space, self.latent = DiscreteSpace(N, H), latent
        if latent:
            with torch.no_grad():
                self.weight.uniform_(-H, H)
        else:
            shape, device, dtype = self.weight.shape, self.weight.device, self.weight.dtype
            self.weight = DiscreteParameter.random(shape, self.space, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Nothing: torch's layers would draw real weights here; the states are drawn on construction."""
        if getattr(self, "bias", None) is not None:
            nn.init.zeros_(self.bias)

    def states(self) -> torch.Tensor:
        """uint8 state indices of the weights the forward pass uses, for a latent weight too."""
        if not self.latent:
            return self.weight.indices()
        level = _Project.apply(self.weight.detach(), self.space) / self.space.H * self.space.denominator
        return ((level + 1) / 2 if self.space.N == 0 else level + self.space.denominator).round().to(torch.uint8)

    def effective_weight(self) -> torch.Tensor:
        """What the forward pass convolves with; differentiable."""
        if not self.latent:
            return self.weight
        with torch.no_grad():
            self.weight.clamp_(-self.space.H, self.space.H)
        return _Project.apply(self.weight, self.space)

    def zero_fraction(self) -> float:
        """Share of weights in state 0; 0 for binary weights, which have none."""
        if self.space.N == 0:
            return 0.0
        return (self.states() == self.space.denominator).float().mean().item()

    def extra_repr(self) -> str:
        held = "latent float" if self.latent else "packed"
        scale = "" if self.space.H == 1 else f", H={self.space.H:g}"
        return f"{super().extra_repr()}, N={self.space.N}{scale}, {held}, zeros={100 * self.zero_fraction():.1f}%"


class Linear(DiscreteLayer, nn.Linear):
    """`torch.nn.Linear` with weights in Z_N. x: float [..., in_features] -> [..., out_features]."""

    def __init__(self, in_features, out_features, bias=False, device=None, dtype=None, *, N=1, H=1.0, latent=False):
        super().__init__(in_features, out_features, bias, device, dtype)
        self._make_discrete(N, H, latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.latent:
            return F.linear(x, self.effective_weight(), self.bias)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        y = _Linear.apply(x, self.weight)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class Conv1d(DiscreteLayer, nn.Conv1d):
    """`torch.nn.Conv1d` with weights in Z_N. x: float [batch, in_channels, length]."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=False,
                 padding_mode="zeros", device=None, dtype=None, *, N=1, H=1.0, latent=False):  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype)  # fmt: skip
        self._make_discrete(N, H, latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.effective_weight(), self.bias)


class Conv2d(DiscreteLayer, nn.Conv2d):
    """`torch.nn.Conv2d` with weights in Z_N. x: float [batch, in_channels, height, width]."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=False,
                 padding_mode="zeros", device=None, dtype=None, *, N=1, H=1.0, latent=False):  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype)  # fmt: skip
        self._make_discrete(N, H, latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.effective_weight(), self.bias)
