"""What is known of the model's values while its program is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter.folding import Step
from gxnor.program.ops import Flatten, MaxPool
from gxnor.space import DiscreteSpace


@dataclass(frozen=True)
class Tensor:
    """What is known of a float tensor of the model: it is later(norms(unit * value `number` of the program))."""

    number: int
    shape: tuple[int, ...]  # without the batch
    unit: Fraction
    norms: tuple[Step, ...] = ()
    later: tuple[MaxPool | Flatten, ...] = ()  # after the norms: they wait for the activation
    pixels: bool = False  # the model's input, before `Pixels`
    rounding: float = 0.0  # how far PyTorch's numbers, before the norms, can be from it: a share of bound * unit
    last: tuple[str, Callable] | None = None  # what the model does to its scores, which a program leaves out


@dataclass(frozen=True)
class Grouped:
    """x seen as (batch, groups, channels of each, *extents), its channels in this order, (groups, channels of each)."""

    x: Tensor
    order: torch.Tensor


UNKNOWN = object()  # in a tensor's place: it comes from something that was refused


class Unknown(Exception):
    """Something depends on a value that comes from something refused: there is nothing more to say about it."""


@dataclass(frozen=True)
class Call:
    """A call of a module, or of `phi`, as it was traced: what went in and what came out."""

    place: str
    module: nn.Module | None  # None: phi
    given: Tensor | None = None  # None, and nothing made: the scores do not depend on it
    made: Tensor | None = None


def tensor(x) -> Tensor:
    """x, unless it is unknown or not a tensor."""
    if x is UNKNOWN:
        raise Unknown
    if not isinstance(x, Tensor):
        raise GxnorError(f"expected a value of the network, got {type(x).__name__}")
    return x


def known(x) -> Tensor:
    """x, if it is not bare pixels either."""
    if tensor(x).pixels:
        raise GxnorError(
            "expected integers, got pixels: put gxnor.nn.Pixels() in front, or for real numbers gxnor.nn.Quantize(low, high)"
        )
    return x


def unit_of(space: DiscreteSpace) -> Fraction:
    """What the level 1 stands for, in float32."""
    return Fraction(float(np.float32(space.H))) / space.denominator


def power_of_two(unit: Fraction) -> bool:
    return unit.numerator.bit_count() == 1 and unit.denominator.bit_count() == 1
