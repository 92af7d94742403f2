"""The residual block of the notation in `networks`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from gxnor.nn.blocks import in_order


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
