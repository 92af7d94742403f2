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
from dataclasses import dataclass

import torch

from gxnor import native
from gxnor.nn.codes import one_code, pack_indices, unpack_indices
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.stream import uniform
from gxnor.optim.counter import counter_bytes, most_bits, pack_counters, unpack_counters
from gxnor.packing import storage_bits
from gxnor.space import DiscreteSpace

PROBABILITIES = ("tanh", "linear")


@dataclass(frozen=True)
class TransitionRule:
    """The settings of a transition; see the module's text.

    Args:
        m, probability: of tau.
        bits: of the counter.
        split_zero: the weights are ternary, and their places those of the four cells of `gxnor.optim.counter`.
        hysteresis: h, from 0 to 0.5.

    Raises ValueError, naming the setting, where the transition is not defined.
    """

    m: float = 3.0
    probability: str = "tanh"
    bits: int = 0
    split_zero: bool = False
    hysteresis: float = 0.0

    def __post_init__(self):
        number = isinstance(self.hysteresis, int | float) and not isinstance(self.hysteresis, bool)
        if not (number and 0 <= self.hysteresis <= 0.5):
            raise ValueError(
                f"hysteresis must be a number from 0 to 0.5, in steps between states, got {self.hysteresis!r}"
            )
        if not (math.isfinite(self.m) and self.m > 0):
            raise ValueError(f"m must be a positive finite number, got {self.m!r}")
        if not (isinstance(self.bits, int) and not isinstance(self.bits, bool) and 0 <= self.bits <= 7):
            raise ValueError(f"counter must be 0 to 7 bits, got {self.bits!r}")
        if not isinstance(self.split_zero, bool):
            raise ValueError(f"split_zero must be True or False, got {self.split_zero!r}")
        if self.probability not in PROBABILITIES:
            raise ValueError(f"probability must be one of {', '.join(PROBABILITIES)}, got {self.probability!r}")

    def check_suits(self, space: DiscreteSpace) -> None:
        """Raises ValueError where weights of the space cannot follow the rule."""
        if self.bits > most_bits(space):
            raise ValueError(f"weights of {space} have counters of at most {most_bits(space)} bits, got {self.bits}")
        if self.split_zero and space.N != 1:
            raise ValueError(f"split_zero is for ternary weights, got weights of {space}")

    @property
    def carried(self) -> int:
        """The hysteresis in places."""
        return round(self.hysteresis * 2 ** (self.bits + self.split_zero))

    def states(self, cells: torch.Tensor) -> torch.Tensor:
        """The states of cells: both halves of a split zero are one."""
        return (cells + 1) >> 1 if self.split_zero else cells


PAPER = TransitionRule()


def transition(
    index: torch.Tensor,
    increment: torch.Tensor,
    space: DiscreteSpace,
    u: torch.Tensor,
    rule: TransitionRule = PAPER,
) -> torch.Tensor:
    """The states after one transition.

    Args:
        index: uint8 state indices; with a counter, the places 2^bits state + counter; with `split_zero`, those of the four
            cells of `gxnor.optim.counter`.
        increment: float dW in the units of the weights, same shape; an infinite one moves to the end of the space.
        space: the weights' space.
        u: float draws, uniform in [0, 1), same shape.
        rule: the settings; by default the paper's.

    Returns the new state indices (or places). Raises ValueError for NaN increments, and for a rule that the space does not
    allow.
    """
    rule.check_suits(space)
    if torch.isnan(increment).any():
        raise ValueError("the increment of a discrete weight is NaN")
    return _transition(index, increment, space, u, rule)


def _transition(index, increment, space: DiscreteSpace, u, rule: TransitionRule) -> torch.Tensor:
    bits, at = rule.bits, index.to(increment.dtype)
    first, cells, step = (0, 4, space.step / 2) if rule.split_zero else (2**bits // 2, space.size, space.step)
    last = (cells << bits) - 1 - first
    rho = torch.minimum(torch.maximum(increment / (step / 2**bits), first - at), last - at)  # in steps
    kappa = torch.trunc(rho)
    nu = rho - kappa
    tau = rule.m * nu.abs()
    if rule.probability == "tanh":
        tau = torch.tanh(tau.double())  # double: so that no implementation's rounding of tanh decides a draw
    to = at + kappa + torch.sign(nu) * (u < tau)
    if rule.carried:
        moved = rule.states(to.int() >> bits) != rule.states(index.int() >> bits)
        to = (to + rule.carried * moved * torch.sign(rho)).clamp(first, last)
    return to.to(torch.uint8)


def move_packed(packed, counters, increment, space: DiscreteSpace, key: int, rule: TransitionRule):
    """The transition of packed states, on any device.

    Args:
        packed: uint8, the states; left as they are.
        counters: uint8, the counters of `rule.bits` each, left as they are; None where there are none.
        increment: float [n] in C order.
        key: of the stream.

    Returns the packed states and the counters after the move, and int64 [2]: how many states moved, how many
    increments are NaN.
    """
    storage, shape, bits = storage_bits(space.size), increment.shape, rule.bits
    before = unpack_indices(packed if rule.split_zero else one_code(packed, space), storage, shape)
    if rule.split_zero:
        before = before ^ (before >> 1)
    place = (before << bits) + unpack_counters(counters, bits, shape) if bits else before
    nan = torch.isnan(increment)
    u = uniform(key, increment.numel(), increment.device)
    place = _transition(place, torch.where(nan, 0, increment), space, u, rule)
    after = place >> bits
    moved = rule.states(after) != rule.states(before)
    if rule.split_zero:
        after = after ^ (after >> 1)
    counts = torch.stack([moved.sum(), nan.sum()])
    return pack_indices(after, storage), pack_counters(place & (2**bits - 1), bits) if bits else None, counts


def move(
    weight: DiscreteParameter,
    increment: torch.Tensor,
    key: int,
    rule: TransitionRule = PAPER,
    counters: torch.Tensor | None = None,
) -> int:
    """`transition` of a parameter in place, with the draws of the stream `key`; returns how many states moved.

    `counters` are those of `gxnor.optim.counter.new_counters`, `rule.bits` each, and move too. On the CPU one fused pass
    over the packed states; equal to the reference, state for state. Raises ValueError, and moves nothing, for an increment
    of another shape or with a NaN in it, for counters of another size, and for a rule that the space does not allow.
    """
    rule.check_suits(weight.space)
    if increment.shape != weight.shape or increment.device != weight.device:
        raise ValueError(
            f"expected an increment of shape {tuple(weight.shape)} on {weight.device}, "
            f"got {tuple(increment.shape)} on {increment.device}"
        )
    expected = counter_bytes(weight.numel(), rule.bits)
    if (0 if counters is None else counters.numel()) != expected:
        raise ValueError(f"expected {expected} bytes of counters")
    increment = increment.contiguous()
    library = native.library() if weight.device.type == "cpu" and increment.dtype == torch.float32 else None
    if library is None:
        packed, after, counts = move_packed(weight.packed, counters, increment.view(-1), weight.space, key, rule)
        moved, nan = counts.tolist()  # read together: a GPU then waits once
        if nan:
            raise ValueError("the increment of a discrete weight is NaN")
        weight.packed.copy_(packed)
        weight.note_move()
        if rule.bits and counters is not None:
            counters.copy_(after)
        return moved
    space = weight.space
    given = native.Rule(
        storage_bits(space.size), space.size, rule.bits, rule.probability == "tanh", rule.split_zero, rule.carried,
        space.step, rule.m, key,
    )  # fmt: skip
    places = counters.data_ptr() if rule.bits and counters is not None else None
    moved = library.gxnor_transition(
        ctypes.byref(given), weight.packed.data_ptr(), places, increment.data_ptr(),
        weight.numel(), torch.get_num_threads(),
    )  # fmt: skip
    if moved < 0:
        raise ValueError("the increment of a discrete weight is NaN")
    weight.note_move()
    return moved
