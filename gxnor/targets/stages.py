"""The stages that a program is lowered to: what is done to which values, in the terms of a small machine.

Values have a height and a width throughout, signs have left the thresholds, and a sum, its max-pooling and its thresholds
are one stage; `gxnor.targets.lowering` makes stages of layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gxnor.program import Program
from gxnor.space import DiscreteSpace

Pair = tuple[int, int]
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Window:
    """Windows over (height, width): `count` of them, and where each reads: stride * place + dilation * tap - padding."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    count: Pair

    @property
    def apart(self) -> bool:
        """Whether no two windows share a place."""
        return all(
            count == 1 or stride > dilation * (kernel - 1)
            for kernel, stride, dilation, count in zip(self.kernel, self.stride, self.dilation, self.count, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Steps:
    """Sums to states: index = number of k with x >= steps[c, k], then the level, negated where flip[c].

    steps: int64 (C, size - 1), ascending; beyond every sum where a step is constant. flip: bool (C,)."""

    space: DiscreteSpace
    steps: np.ndarray
    flip: np.ndarray


@dataclass(frozen=True)
class Stage:
    """What is done to which values. `layers` are the numbers of the program's layers that it stands for, `sources` and
    `result` numbers of values."""

    layers: tuple[int, ...]
    sources: tuple[int, ...]
    result: int


@dataclass(frozen=True, eq=False)
class Linear(Stage):
    """Sums of products over windows, with pooling and thresholds where there are `steps`.

    weight: int8 (out, in / groups, height, width) of levels. reach: int64 (out,), the largest |sum| of every channel.
    pool: windows over the sums; None without steps."""

    weight: np.ndarray
    window: Window
    groups: int
    reach: np.ndarray
    pool: Window | None = None
    steps: Steps | None = None


@dataclass(frozen=True, eq=False)
class Quantize(Stage):
    """Sums to states, where no Linear does it."""

    steps: Steps


@dataclass(frozen=True)
class Max(Stage):
    window: Window


@dataclass(frozen=True)
class Sum(Stage):
    window: Window


@dataclass(frozen=True)
class Plus(Stage):
    factors: Pair


@dataclass(frozen=True)
class Reorder(Stage):
    """(C, H, W) to (C H W, 1, 1) in C order."""


@dataclass(frozen=True, eq=False)
class Rescale(Stage):
    """(multiplier[c] * x + offset[c]) >> shift, in 64 bits; int32 (C,) and int64 (C,)."""

    shift: int
    multiplier: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True)
class Join(Stage):
    """The channels of all sources, one source after the other."""


@dataclass(frozen=True)
class Border(Stage):
    """Zeros around; `before` are those above and to the left."""

    before: Pair


@dataclass(frozen=True)
class Repeat(Stage):
    """Every place several times along the height and the width."""

    factors: Pair


@dataclass(frozen=True, eq=False)
class Select(Stage):
    """y[c] = x[order[c]]; int32 (C,)."""

    order: np.ndarray


@dataclass(frozen=True, eq=False)
class Logits(Stage):
    """float32(x) * scale + bias, rounded to float32 after each."""

    scale: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Lifted:
    """A value: (C, height, width), the largest |integer|, and its space (None for pixels and sums)."""

    shape: Triple
    bound: int
    space: DiscreteSpace | None


@dataclass(frozen=True, eq=False)
class Lowered:
    """Stages in the order they run, and what is known of the values that they read and make, by number; 0 is the input."""

    program: Program
    stages: tuple[Stage, ...]
    values: dict[int, Lifted]


def on_pixels(stage: Linear) -> tuple[int, int, np.ndarray | None]:
    """(factor, border, steps) of a Linear on raw pixels p, which enter a program as x = 2p - 255, and as 0 in the padding:

        sum of w x = 2 s + k,   s = sum of w p,   k = -255 sum of w

    Without padding thresholds are put on s, so that a pixel of 0 is not an event: 2 s + k >= t is
    s >= ceil((t - k) / 2), and the factor is 1. With padding they are put on the sum of w q, where q is 2p
    (factor 2) and 255 in the padding (border)."""
    constant = -255 * stage.weight.astype(np.int64).reshape(len(stage.weight), -1).sum(axis=1)[:, None]
    padded = stage.window.padding != (0, 0)
    if stage.steps is None:
        return (2, 255, None) if padded else (1, 0, None)
    steps = stage.steps.steps - constant
    return (2, 255, steps) if padded else (1, 0, -((-steps) // 2))


def macs(stage: Linear) -> int:
    """Products of a stage, those with padding included."""
    return stage.weight.size * math.prod(stage.window.count)
