"""Increments: what a gradient rule would add to a weight, were it real.

Each rule is a function `rule(grad, state, group) -> dW` that keeps its memory in the dict `state` (empty at first) and
reads its settings from the dict `group`. The betas may change from step to step: the bias of an average is corrected by
the product of the betas that were used, whatever they were.
"""

from __future__ import annotations

import math

import torch


def adam(grad: torch.Tensor, state: dict, group: dict) -> torch.Tensor:
    """Adam (Kingma and Ba, arXiv 1412.6980).

        v1 <- beta1 v1 + (1 - beta1) g          c1 = 1 - product of all beta1 so far
        v2 <- beta2 v2 + (1 - beta2) g^2        c2 = 1 - product of all beta2 so far
        dW  = -lr (v1 / c1) / (sqrt(v2 / c2) + eps)

    State: two float tensors like the gradient, 8 bytes a weight. Group: lr, betas, eps.
    """
    beta1, beta2 = group["betas"]
    if "exp_avg" not in state:
        state.update(decay=1.0, decay_sq=1.0, exp_avg=torch.zeros_like(grad), exp_avg_sq=torch.zeros_like(grad))
    state["decay"] *= beta1
    state["decay_sq"] *= beta2
    v1 = state["exp_avg"].lerp_(grad, 1 - beta1)
    v2 = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    root = math.sqrt(1 - state["decay_sq"])
    denominator = v2.sqrt().add_(group["eps"] * root)
    # Into the same memory: a fresh temporary of this size costs more in page faults than the division does.
    return torch.div(v1, denominator, out=denominator).mul_(-group["lr"] * root / (1 - state["decay"]))


def sgd(grad: torch.Tensor, state: dict, group: dict) -> torch.Tensor:
    """SGD with momentum beta1, as a moving average, so that lr keeps its meaning while beta1 changes.

        v  <- beta1 v + (1 - beta1) g           c = 1 - product of all beta1 so far
        dW  = -lr v / c

    State: one float tensor like the gradient, 4 bytes a weight. Group: lr, betas (the first).
    """
    beta1 = group["betas"][0]
    if "exp_avg" not in state:
        state.update(decay=1.0, exp_avg=torch.zeros_like(grad))
    state["decay"] *= beta1
    return state["exp_avg"].lerp_(grad, 1 - beta1) * (-group["lr"] / (1 - state["decay"]))


RULES = {"adam": adam, "sgd": sgd}
