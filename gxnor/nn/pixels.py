"""Images as the input of a network: pixels to exact integers."""

from __future__ import annotations

import torch
from torch import nn

from gxnor import pixels
from gxnor.nn.tracing import as_node, is_symbolic, refuse_scripting


class Pixels(nn.Module):
    """The network's input: uint8 pixels p to the integers 2p - 255, as float.

    They stand for the real inputs (2p - 255) / 255 in [-1, 1]. The division is left to the batch norm after the first
    layer, so that every sum of a discrete network, the first layer's too, is an integer and exact in float32.
    Float images in [0, 1] are taken as p = round(255 x), by the rule of `gxnor.pixels`, which an exported network
    follows too. The result is float32, and so the layers after it are to be.

    Raises ValueError for integers of another type, which may be pixels or anything else, and for floats that are NaN or
    not in [0, 1]: images that were normalised, or pixels 0..255 as floats. In a graph of torch.compile it is a
    RuntimeError.
    """

    __prepare_scriptable__ = refuse_scripting

    def forward(self, p: torch.Tensor) -> torch.Tensor:
        if is_symbolic(p):
            return as_node(self, p)
        if p.dtype != torch.uint8:
            if not p.is_floating_point():
                raise ValueError(f"expected {pixels.EXPECTED}, got {p.dtype}")
            p = pixels.widen(p)
            fit = pixels.are_shares(p)
            if torch.compiler.is_compiling() or p.is_meta:
                torch._assert_async(fit, f"expected {pixels.EXPECTED}, got floats beyond")
            elif not fit:
                raise ValueError(pixels.refusal(p))
            p = pixels.nearest(p)
        return p.to(torch.float32) * 2 - 255
