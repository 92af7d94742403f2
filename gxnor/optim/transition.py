"""Discrete state transition: how a real-valued increment moves a discrete weight.

GXNOR-Net (arXiv 1705.09283), section 2.4, with dz the step of the space and H its range:

    rho   = min(H - W, dW)  if dW >= 0,  max(-H - W, dW)  otherwise        stay inside
    kappa = fix(rho / dz),  nu = rho - kappa dz                            split
    W    <- W + kappa dz + sign(rho) dz * [ u < tau(nu) ]                  move, u uniform in [0, 1)

    tau(nu) = tanh(m |nu| / dz)     "tanh", the paper's, m = 3
    tau(nu) = min(m |nu| / dz, 1)   "linear"; with m = 1 the move is dW in expectation (stochastic rounding)

With a counter of b bits per weight the same rule moves a place on a lattice that is 2^b times finer; what the network
sees is the state whose cell the place lies in, and the counter, the place within the cell, is kept by the optimizer
(`gxnor.optim.counter`):

    place = 2^b state + counter,  moves as above with dz / 2^b for dz;  state = place div 2^b,  counter = place mod 2^b

So an increment too small to move the state is remembered rather than lost. Staying inside [-H, H] leaves half a cell for
each of the two outer states. b = 0 is the paper's rule. With `split_zero` the places of ternary weights are twice as fine in
the same memory (`gxnor.optim.counter`).

A weight whose place lies at the edge of a cell goes to and fro between two states with every change of its increment's sign.
With a hysteresis h > 0, of steps dz, one that has changed its state is carried on by h:

    place <- place + sign(rho) round(h dz / distance of places)   where the state is another than before, staying inside

so that it takes increments of h dz in the other direction to bring the old state back.
"""

from __future__ import annotations

import ctypes
import math

import torch

from gxnor import native
from gxnor.nn.parameter import DiscreteParameter, one_code, pack_indices, unpack_indices
from gxnor.nn.stream import uniform
from gxnor.optim.counter import counter_bytes, pack_counters, unpack_counters
from gxnor.packing import storage_bits
from gxnor.space import DiscreteSpace

PROBABILITIES = ("tanh", "linear")


def check_settings(m: float, probability: str, hysteresis: float = 0.0) -> None:
    """Raises ValueError, naming the setting, where the transition is not defined."""
    number = isinstance(hysteresis, int | float) and not isinstance(hysteresis, bool)
    if not (number and 0 <= hysteresis <= 0.5):
        raise ValueError(f"hysteresis must be a number from 0 to 0.5, in steps between states, got {hysteresis!r}")
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
    bits: int = 0,
    split_zero: bool = False,
    hysteresis: float = 0.0,
) -> torch.Tensor:
    """The states after one transition.

    Args:
        index: uint8 state indices; with a counter, the places 2^bits state + counter; with `split_zero`, those of the four
            cells of `gxnor.optim.counter`.
        increment: float dW in the units of the weights, same shape; an infinite one moves to the end of the space.
        space: the weights' space.
        u: float draws, uniform in [0, 1), same shape.
        m, probability: the rule for tau; see the module's text.
        bits: of the counter.
        hysteresis: h; see the module's text.

    Returns the new state indices (or places). Raises ValueError for NaN increments and impossible settings.
    """
    check_settings(m, probability, hysteresis)
    if torch.isnan(increment).any():
        raise ValueError("the increment of a discrete weight is NaN")
    return _transition(index, increment, space, u, m, probability, bits, split_zero, hysteresis)


def _transition(
    index,
    increment,
    space: DiscreteSpace,
    u,
    m: float,
    probability: str,
    bits: int,
    split_zero: bool,
    hysteresis: float,
) -> torch.Tensor:
    at = index.to(increment.dtype)
    first, cells, step = (0, 4, space.step / 2) if split_zero else (2**bits // 2, space.size, space.step)
    last = (cells << bits) - 1 - first
    rho = torch.minimum(torch.maximum(increment / (step / 2**bits), first - at), last - at)  # in steps
    kappa = torch.trunc(rho)
    nu = rho - kappa
    tau = m * nu.abs()
    if probability == "tanh":
        tau = torch.tanh(tau.double())  # double: so that no implementation's rounding of tanh decides a draw
    to = at + kappa + torch.sign(nu) * (u < tau)
    carried = _places(hysteresis, bits, split_zero)
    if carried:
        moved = _states(to.int() >> bits, split_zero) != _states(index.int() >> bits, split_zero)
        to = (to + carried * moved * torch.sign(rho)).clamp(first, last)
    return to.to(torch.uint8)


def _places(hysteresis: float, bits: int, split_zero: bool) -> int:
    """A hysteresis, in steps between states, in places."""
    return round(hysteresis * 2 ** (bits + split_zero))


def _states(cells: torch.Tensor, split_zero: bool) -> torch.Tensor:
    """The states of cells: both halves of a split zero are one."""
    return (cells + 1) >> 1 if split_zero else cells


def move_packed(
    packed, counters, bits: int, increment, space: DiscreteSpace, key: int, m: float, probability: str,
    split_zero: bool = False, hysteresis: float = 0.0,
):  # fmt: skip
    """The transition of packed states, on any device.

    Args:
        packed: uint8, the states; left as they are.
        counters: uint8, the counters of `bits` each, left as they are; None for bits = 0.
        increment: float [n] in C order.
        key: of the stream.

    Returns the packed states and the counters after the move, and int64 [2]: how many states moved, how many
    increments are NaN.
    """
    storage, shape = storage_bits(space.size), increment.shape
    before = unpack_indices(packed if split_zero else one_code(packed, space), storage, shape)
    if split_zero:
        before = before ^ (before >> 1)
    place = (before << bits) + unpack_counters(counters, bits, shape) if bits else before
    nan = torch.isnan(increment)
    u = uniform(key, increment.numel(), increment.device)
    place = _transition(place, torch.where(nan, 0, increment), space, u, m, probability, bits, split_zero, hysteresis)
    after = place >> bits
    moved = _states(after, split_zero) != _states(before, split_zero)
    if split_zero:
        after = after ^ (after >> 1)
    counts = torch.stack([moved.sum(), nan.sum()])
    return pack_indices(after, storage), pack_counters(place & (2**bits - 1), bits) if bits else None, counts


def move(
    weight: DiscreteParameter,
    increment: torch.Tensor,
    key: int,
    m: float = 3.0,
    probability: str = "tanh",
    counters: torch.Tensor | None = None,
    bits: int = 0,
    split_zero: bool = False,
    hysteresis: float = 0.0,
) -> int:
    """`transition` of a parameter in place, with the draws of the stream `key`; returns how many states moved.

    `counters` are those of `gxnor.optim.counter.new_counters`, `bits` each, and move too. On the CPU one fused pass over
    the packed states; equal to the reference, state for state. Raises ValueError, and moves nothing, for an increment of
    another shape or with a NaN in it, and for counters of another size.
    """
    check_settings(m, probability, hysteresis)
    if increment.shape != weight.shape or increment.device != weight.device:
        raise ValueError(
            f"expected an increment of shape {tuple(weight.shape)} on {weight.device}, "
            f"got {tuple(increment.shape)} on {increment.device}"
        )
    if (0 if counters is None else counters.numel()) != counter_bytes(weight.numel(), bits):
        raise ValueError(f"expected {counter_bytes(weight.numel(), bits)} bytes of counters")
    increment = increment.contiguous()
    library = native.library() if weight.device.type == "cpu" and increment.dtype == torch.float32 else None
    if library is None:
        flat = increment.view(-1)
        settings = weight.space, key, m, probability, split_zero, hysteresis
        packed, after, counts = move_packed(weight.packed, counters, bits, flat, *settings)
        moved, nan = counts.tolist()  # read together: a GPU then waits once
        if nan:
            raise ValueError("the increment of a discrete weight is NaN")
        weight.packed.copy_(packed)
        weight.note_move()
        if bits and counters is not None:
            counters.copy_(after)
        return moved
    space = weight.space
    carried = _places(hysteresis, bits, split_zero)
    rule = native.Rule(
        storage_bits(space.size), space.size, bits, probability == "tanh", split_zero, carried, space.step, m, key
    )
    places = counters.data_ptr() if bits and counters is not None else None
    moved = library.gxnor_transition(
        ctypes.byref(rule), weight.packed.data_ptr(), places, increment.data_ptr(),
        weight.numel(), torch.get_num_threads(),
    )  # fmt: skip
    if moved < 0:
        raise ValueError("the increment of a discrete weight is NaN")
    weight.note_move()
    return moved
