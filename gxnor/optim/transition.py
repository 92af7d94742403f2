"""Discrete state transition: how a real-valued increment moves a discrete weight.

GXNOR-Net (arXiv 1705.09283), section 2.4, with dz the step of the space and H its range:

    rho   = min(H - W, dW)  if dW >= 0,  max(-H - W, dW)  otherwise        stay inside
    kappa = fix(rho / dz),  nu = rho - kappa dz                            split
    W    <- W + kappa dz + sign(rho) dz * [ u < tau(nu) ]                  move, u uniform in [0, 1)

    tau(nu) = tanh(m |nu| / dz)     "tanh", the paper's, m = 3
    tau(nu) = min(m |nu| / dz, 1)   "linear"; with m = 1 the move is dW in expectation (stochastic rounding)
"""

from __future__ import annotations

import ctypes
import functools
import math

import torch

from gxnor import native
from gxnor.nn.parameter import DiscreteParameter, pack_indices
from gxnor.optim.stream import uniform
from gxnor.packing import storage_bits
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
    return _transition(index, increment, space, u, m, probability)


def _transition(index, increment, space: DiscreteSpace, u, m: float, probability: str) -> torch.Tensor:
    at = index.to(increment.dtype)
    rho = torch.minimum(torch.maximum(increment / space.step, -at), space.size - 1 - at)  # in steps
    kappa = torch.trunc(rho)
    nu = rho - kappa
    tau = m * nu.abs()
    if probability == "tanh":
        tau = torch.tanh(tau.double())  # double: so that no implementation's rounding of tanh decides a draw
    return (at + kappa + torch.sign(nu) * (u < tau)).to(torch.uint8)


@functools.cache
def _native():
    """The fused kernel of native/transition.cpp, or None where it was not built."""
    lib = native.library()
    if lib is None:
        return None
    lib.gxnor_transition.argtypes = [
        ctypes.c_void_p, ctypes.c_int, ctypes.c_int,  # packed, bits, states
        ctypes.c_void_p, ctypes.c_int64,  # dW, n
        ctypes.c_float, ctypes.c_float, ctypes.c_int,  # step, m, tanh
        ctypes.c_uint64, ctypes.c_int,  # key, threads
    ]  # fmt: skip
    lib.gxnor_transition.restype = ctypes.c_int64
    return lib.gxnor_transition


def move(
    weight: DiscreteParameter, increment: torch.Tensor, key: int, m: float = 3.0, probability: str = "tanh"
) -> int:
    """`transition` of a parameter in place, with the draws of the stream `key`; returns how many weights moved.

    On the CPU one fused pass over the packed states; equal to the reference, state for state. Raises ValueError, and
    moves nothing, for an increment of another shape or with a NaN in it.
    """
    check_settings(m, probability)
    if increment.shape != weight.shape or increment.device != weight.device:
        raise ValueError(
            f"expected an increment of shape {tuple(weight.shape)} on {weight.device}, "
            f"got {tuple(increment.shape)} on {increment.device}"
        )
    kernel = _native() if weight.device.type == "cpu" and increment.dtype == torch.float32 else None
    if kernel is None:
        u = uniform(key, weight.numel(), weight.device).view(weight.shape)
        before, nan = weight.indices(), torch.isnan(increment)
        after = _transition(before, increment.nan_to_num(0, math.inf, -math.inf), weight.space, u, m, probability)
        moved, refused = torch.stack([(after != before).sum(), nan.sum()]).tolist()  # one wait for a GPU, not several
        if refused:
            raise ValueError("the increment of a discrete weight is NaN")
        weight.packed.copy_(pack_indices(after, storage_bits(weight.space.size)))
        return moved
    increment = increment.contiguous()
    moved = kernel(
        weight.packed.data_ptr(), storage_bits(weight.space.size), weight.space.size, increment.data_ptr(),
        weight.numel(), weight.space.step, m, probability == "tanh", key, torch.get_num_threads(),
    )  # fmt: skip
    if moved < 0:
        raise ValueError("the increment of a discrete weight is NaN")
    return moved
