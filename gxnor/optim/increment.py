"""Increments: what a gradient rule would add to a weight if it were real.

Each rule is a function `rule(grad, state, group, spare=False) -> dW` that keeps its memory in the dict `state` (empty at
first) and reads its settings from the dict `group`; with `spare`, dW may take the place of the gradient. The betas may
change from step to step: the bias of an average is corrected by the product of the betas that were used, whatever they
were.
"""

from __future__ import annotations

import ctypes
import math

import torch

from gxnor import native
from gxnor.nn.saved_formats import is_dense, slices


def adam(grad: torch.Tensor, state: dict, group: dict, spare: bool = False) -> torch.Tensor:
    """Adam (Kingma and Ba, arXiv 1412.6980).

        v1 <- beta1 v1 + (1 - beta1) g          c1 = 1 - product of all beta1 so far
        v2 <- beta2 v2 + (1 - beta2) g^2        c2 = 1 - product of all beta2 so far
        dW  = -lr (v1 / c1) / (sqrt(v2 / c2) + eps)

    State: two float tensors like the gradient, 8 bytes per weight. Group: lr, betas, eps.
    """
    beta1, beta2 = group["betas"]
    if "exp_avg" not in state:
        state.update(decay=1.0, decay_sq=1.0, exp_avg=torch.zeros_like(grad), exp_avg_sq=torch.zeros_like(grad))
    state["decay"] *= beta1
    state["decay_sq"] *= beta2
    root = math.sqrt(1 - state["decay_sq"])
    settings = (1 - beta1, beta2, 1 - beta2, group["eps"] * root, -group["lr"] * root / (1 - state["decay"]))
    tensors = (grad, state["exp_avg"], state["exp_avg_sq"])
    library = native.library() if all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors) else None
    if library is None or any(t.stride() != grad.stride() for t in tensors) or not is_dense(grad):
        return adam_reference(*tensors, *settings)
    dW = torch.empty_like(grad)
    given, pointers = native.AdamSettings(*settings), (t.data_ptr() for t in (*tensors, dW))
    library.gxnor_adam(ctypes.byref(given), *pointers, grad.numel(), torch.get_num_threads())
    return dW


def adam_reference(g, v1, v2, w1: float, beta2: float, w2: float, eps: float, factor: float) -> torch.Tensor:
    """Updates v1 and v2 in place and returns dW, operation by operation as the native kernel does."""
    v1.add_((g - v1).mul_(w1))
    v2.mul_(beta2).add_((g * g).mul_(w2))
    denominator = v2.double().sqrt().to(v2.dtype).add_(eps)  # torch's float32 sqrt is not always the nearest number
    return torch.div(v1, denominator, out=denominator).mul_(factor)


def sgd(grad: torch.Tensor, state: dict, group: dict, spare: bool = False) -> torch.Tensor:
    """SGD with momentum beta1, as a moving average, so that lr keeps its meaning while beta1 changes.

        v  <- beta1 v + (1 - beta1) g           c = 1 - product of all beta1 so far
        dW  = -lr v / c

    State: one float tensor like the gradient, 4 bytes per weight. Group: lr, betas (the first).
    """
    beta1 = group["betas"][0]
    if "exp_avg" not in state:
        state.update(decay=1.0, exp_avg=torch.zeros_like(grad))
    state["decay"] *= beta1
    return state["exp_avg"].lerp_(grad, 1 - beta1) * (-group["lr"] / (1 - state["decay"]))


def factored(grad: torch.Tensor, state: dict, group: dict, spare: bool = False) -> torch.Tensor:
    """The gradient over the root of its second moment, which is kept as a row and a column (Adafactor, Shazeer and Stern,
    arXiv 1804.04235, section 3); no momentum. With the gradient of a layer as a matrix g, one row an output:

        r_i <- beta2 r_i + (1 - beta2) mean_j g_ij^2          c2 = 1 - product of all beta2 so far
        c_j <- beta2 c_j + (1 - beta2) mean_i g_ij^2
        dW_ij = -lr g_ij / (sqrt(r_i c_j / (c2 mean_i r_i)) + eps)

    A vector (batch norm, bias) has nothing to factor and takes Adam's increment. State: two float vectors, 4 bytes per row
    and a column. Group: lr, betas (the second; both for vectors), eps.
    """
    if grad.dim() < 2:
        return adam(grad, state, group)
    beta2 = group["betas"][1]
    g = grad.reshape(len(grad), -1)
    if "row" not in state:
        state.update(decay_sq=1.0, row=g.new_zeros(g.shape[0]), column=g.new_zeros(g.shape[1]))
    state["decay_sq"] *= beta2
    of_rows, of_columns = _mean_squares(g)
    row = state["row"].lerp_(of_rows, 1 - beta2)
    column = state["column"].lerp_(of_columns, 1 - beta2)
    scale = row / (row.mean() * (1 - state["decay_sq"])).clamp(min=torch.finfo(row.dtype).tiny)
    roots, settings = (scale.sqrt(), column.sqrt()), (group["eps"], -group["lr"])
    library = native.library() if g.device.type == "cpu" and g.dtype == torch.float32 else None
    if library is None or not g.is_contiguous():
        return factored_reference(g, *roots, *settings).view_as(grad)
    dW, pointers = g if spare else torch.empty_like(g), [t.data_ptr() for t in (g, *roots)]
    library.gxnor_factored(*pointers, *g.shape, *settings, dW.data_ptr(), torch.get_num_threads())
    return dW.view_as(grad)


def factored_reference(g, row, column, eps: float, factor: float) -> torch.Tensor:
    """dW of a gradient and the two roots of its second moment."""
    root = torch.outer(row, column).add_(eps)
    return torch.div(g, root, out=root).mul_(factor)


def _mean_squares(g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the rows and of the columns, a slice of rows at a time."""
    rows, columns = [], g.new_zeros(g.shape[1])
    for begin, end in slices(len(g), g.shape[1] * g.element_size(), g.device):
        square = g[begin:end].square()
        rows.append(square.mean(1))
        columns += square.sum(0)
    return torch.cat(rows), columns / len(g)


RULES = {"factored": factored, "adam": adam, "sgd": sgd}
