"""What a program is to the circuit: groups of sums, and steps that lead from one to the next. NumPy only.

Every group of sums has accumulators of its own. A step takes one group (step 0: the input), makes events of its sums, and
adds these to another group through weights in -1, 0, 1; the last one gives the sums themselves. All else is a list of steps:

* an addition is two streams of events into the same accumulators, which keep the one until the other comes;
* weights of more than three states are planes: sum over p of 2^p w_p, w_p in -1, 0, 1, one step for each, its events shifted
  left by p; so are the factors of an addition;
* a value that several layers read is emitted once for each; the last time clears its accumulators;
* an average pool is a sum, whose weights are 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gxnor.space import DiscreteSpace
from gxnor.targets.stages import Logits, Pair, Triple, Window


@dataclass(eq=False)
class Sums:
    """A group of accumulators, (channels, height, width). The value that it stands for is factor x + constant[c]. low, high:
    int64 (channels,), the smallest and the largest x that weights and inputs allow."""

    numbers: tuple[int, ...]
    shape: Triple
    low: np.ndarray
    high: np.ndarray
    factor: int
    constant: np.ndarray

    @property
    def positions(self) -> int:
        return self.shape[1] * self.shape[2]

    def blocks(self, lanes: int) -> int:
        return -(-self.shape[0] // lanes)


@dataclass(frozen=True, eq=False)
class Emission:
    """Events of sums. bound: the largest |value|."""

    source: Sums
    bound: int


@dataclass(frozen=True, eq=False)
class States(Emission):
    """States by `steps` (int64 (channels, n), within low..high + 1), negated where flip[c]; the largest (with `least` and
    flip[c]: the smallest) of every window of `pool`."""

    space: DiscreteSpace
    steps: np.ndarray
    flip: np.ndarray
    pool: Window | None = None
    least: bool = False


@dataclass(frozen=True, eq=False)
class Numbers(Emission):
    """(multiplier[c] x + offset[c]) >> shift; arrays of Python's integers."""

    shift: int
    multiplier: np.ndarray
    offset: np.ndarray

    @property
    def plain(self) -> bool:
        """Whether they are the sums themselves."""
        return self.shift == 0 and bool((self.multiplier == 1).all() and (self.offset == 0).all())


@dataclass(frozen=True, eq=False)
class Edge:
    """Events of a shape to sums. weight: int8 (in, kernel height, kernel width, out); (in, 1, 1, out) where all places of
    the window's kernel have the same."""

    shape: Triple
    weight: np.ndarray
    window: Window
    to: Sums

    @property
    def uniform(self) -> bool:
        return self.weight.shape[1:3] != self.window.kernel

    def area(self, lanes: int) -> int:
        """Words of weights per input channel."""
        return self.weight.shape[1] * self.weight.shape[2] * self.to.blocks(lanes)


@dataclass(frozen=True, eq=False)
class Step:
    """What is emitted (None: the input), to where (None: out), its values times 2^shift. clears: the sums are read for the
    last time."""

    emission: Emission | None
    edge: Edge | None
    shift: int = 0
    clears: bool = True

    @property
    def bound(self) -> int:
        assert self.emission is not None
        return self.emission.bound << self.shift


@dataclass(frozen=True)
class Input:
    """How an input enters: pixels p as factor p, with events of 255 in a border of (height, width) around them; or, signed,
    levels as they are. shape: with the border."""

    shape: Triple
    signed: bool
    factor: int
    border: Pair


@dataclass(frozen=True, eq=False)
class Plan:
    """The groups of sums, in the order of their first step; the steps, in the order they run; the last layer."""

    sums: list[Sums]
    steps: list[Step]
    input: Input
    logits: Logits

    @property
    def last(self) -> Sums:
        """Those that the circuit gives."""
        emission = self.steps[-1].emission
        assert emission is not None
        return emission.source
