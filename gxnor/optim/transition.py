"""Discrete state transition: how a real-valued increment moves a discrete weight.

GXNOR-Net (arXiv 1705.09283), section 2.4, with dz the step of the space and H its range:

    rho   = min(H - W, dW)  if dW >= 0,  max(-H - W, dW)  otherwise        stay inside
    kappa = fix(rho / dz),  nu = rho - kappa dz                            split
    W    <- W + kappa dz + sign(rho) dz * [ u < tau(nu) ]                  move, u uniform in [0, 1)

    tau(nu) = tanh(m |nu| / dz)     "tanh", the paper's, m = 3
    tau(nu) = min(m |nu| / dz, 1)   "linear"; with m = 1 the move is dW in expectation (stochastic rounding)
"""

from __future__ import annotations

import math

import torch

from gxnor.space import DiscreteSpace

PROBABILITIES = ("tanh", "linear")


def check_settings(m: float, probability: str) -> None:
    """Raises ValueError, naming the setting, where the transition is not defined."""
    if not (math.isfinite(m) and m > 0):
        raise ValueError(f"m must be a positive finite number, got {m!r}")
    if probability not in PROBABILITIES:
        raise ValueError(f"probability must be one of {', '.join(PROBABILITIES)}, got {probability!r}")


def transition(
    index: torch.Tensor,
    increment: torch.Tensor,
    space: DiscreteSpace,
    u: torch.Tensor,
    m: float = 3.0,
    probability: str = "tanh",
) -> torch.Tensor:
    """The states after one transition.

    Args:
        index: uint8 state indices.
        increment: float dW in the units of the weights, same shape; infinite is allowed and goes to the bound.
        space: the weights' space.
        u: float draws, uniform in [0, 1), same shape.
        m, probability: the rule for tau; see the module's text.

    Returns uint8 state indices. Raises ValueError for NaN increments and impossible settings.
    """
    check_settings(m, probability)
    if torch.isnan(increment).any():
        raise ValueError("the increment of a discrete weight is NaN")
    at = index.to(increment.dtype)
    rho = torch.minimum(torch.maximum(increment / space.step, -at), space.size - 1 - at)  # in steps
    kappa = torch.trunc(rho)
    nu = rho - kappa
    tau = torch.tanh(m * nu.abs()) if probability == "tanh" else m * nu.abs()
    return (at + kappa + torch.sign(nu) * (u < tau)).to(torch.uint8)
