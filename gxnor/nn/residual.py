"""The residual blocks of the notation in `networks`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from gxnor.nn.activation import phi
from gxnor.nn.blocks import in_order

TOP = 4.0  # batch-normed sums of a few blocks hardly go beyond


class Residual(nn.Module):
    """y = act(norm(conv(act(norm(conv(x))))) + s(x)) for x [batch, inputs, *size]; y has `outputs` channels, and size
    ceil(size / stride).

    The shortcut s is the identity where x has the shape of y, else a 1 x 1 convolution of the same stride with a norm
    (K. He et al., arXiv 1512.03385, section 3.3, option B).

    Args:
        convolution: makes one from (inputs, outputs, kernel, padding, stride).
        norm: makes a batch norm from its channels.
        activation: makes an activation.
        kernel: of both convolutions, odd.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        convolution: Callable[[int, int, int, int, int], nn.Module],
        norm: Callable[[int], nn.Module],
        activation: Callable[[], nn.Module],
    ):
        super().__init__()
        self.conv1 = convolution(inputs, outputs, kernel, kernel // 2, stride)
        self.norm1 = norm(outputs)
        self.act1 = activation()
        self.conv2 = convolution(outputs, outputs, kernel, kernel // 2, 1)
        self.norm2 = norm(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential()
            self.shortcut.add_module("conv", convolution(inputs, outputs, 1, 0, stride))
            self.shortcut.add_module("norm", norm(outputs))
        self.act2 = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = in_order((self.conv1, self.norm1, self.act1, self.conv2, self.norm2), x)
        return self.act2(inside + self.shortcut(x))


class RoundedSum(nn.Module):
    """x rounded to the nearest of the 2^N + 1 levels between -TOP and TOP, with a derivative of 1 there and of 0 beyond:
    y = TOP phi_N(x), with phi's steps at (k - 1/2) d, d = TOP / 2^(N-1), and windows of half-width d/2."""

    def __init__(self, N: int):
        super().__init__()
        self.N = N

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = TOP / 2**self.N
        return phi(x, self.N, r=half, a=half, H=TOP + half).mul_(TOP)

    def extra_repr(self) -> str:
        return f"N={self.N}"


class RoundedResidual(Residual):
    """y = round(norm(conv(act(norm(conv(act(x)))))) + s(x)), and round is the `RoundedSum` of N, so that sums run past the
    blocks with more states than activations have. The shortcut's convolution, too, reads act(x). Otherwise a `Residual`.

    After Z. Liu et al., Bi-Real Net, arXiv 1808.00278, section 3.1, where sums are real."""

    def __init__(self, *settings, N: int):
        super().__init__(*settings)
        self.sum = RoundedSum(N)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.sum(self._unrounded(x))

    def _unrounded(self, x: torch.Tensor) -> torch.Tensor:
        """In a function of its own, so that nothing else lives while the sum is rounded."""
        inside = self.conv1, self.norm1, self.act1, self.conv2, self.norm2
        if isinstance(self.shortcut, nn.Identity):
            return in_order(inside, self.act2(x)) + x
        states = self.act2(x)
        return in_order(inside, states) + self.shortcut(states)
