"""The program while it is built, and what is known of the model's values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter import folding
from gxnor.exporter.folding import Norm
from gxnor.program import Input
from gxnor.program.ops import NEVER, Add, Conv, Dense, Layer, MaxPool, Scale, SumPool, Value
from gxnor.space import DiscreteSpace

EXACT = 2**24  # float32 holds every integer up to here


@dataclass(frozen=True)
class Tensor:
    """What is known of a float tensor of the model: it is later(norms(unit * value `number` of the program))."""

    number: int
    shape: tuple[int, ...]  # without the batch
    unit: Fraction
    norms: tuple[Norm, ...] = ()
    later: tuple[Layer, ...] = ()  # max pooling and flattening after the norms: they wait for the activation
    pixels: bool = False  # the model's input, before `Pixels`
    rounding: float = (
        0.0  # how far PyTorch's float32 numbers, before the norms, can be from it: a share of bound * unit
    )


UNKNOWN = object()  # in a tensor's place: it comes from something that was refused


class Unknown(Exception):
    """Something depends on a value that comes from something refused: there is nothing more to say about it."""


@dataclass(frozen=True)
class Call:
    """A call of a module, or of `phi`, as it was traced: what went in and what came out."""

    place: str
    module: nn.Module | None  # None: phi
    given: Tensor
    made: Tensor


class Builder:
    """Layers and values so far; `rounded`: where PyTorch rounds sums that the program does not; `calls`: what is compared
    with the model when the program is done; `logits`: what the scores are, once `finish` was called.

    `at` says which part of the model is being looked at."""

    logits: Tensor

    def __init__(self, source: Input):
        self.source, self.layers, self.values = source, [], [source.value()]
        self.at = ""
        self.rounded: dict[str, None] = {}  # in order, once each
        self.calls: list[Call] = []

    def input(self) -> Tensor:
        space = self.source.space
        return Tensor(0, self.source.shape, unit_of(space) if space else Fraction(1), pixels=space is None)

    def emit(self, layer: Layer, unit: Fraction, *given: Tensor) -> Tensor:
        """Appends a layer whose output stands for real numbers in this unit.

        Where PyTorch rounds, its sum of n terms is off by at most n 2^-24 of the largest sum, and by what the terms were
        off (N. J. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1)."""
        value = layer.infer(*(self.values[i] for i in layer.inputs))
        if value.bound >= NEVER:
            raise GxnorError(f"a sum could reach {value.bound} and leave int32")
        rounding = max((x.rounding for x in given), default=0.0)
        exact = not rounding and power_of_two(unit) and value.bound <= EXACT
        if isinstance(layer, Conv | Dense | SumPool | Add) and not exact:
            self.rounded[self.at] = None
            rounding += (terms(layer) + 2) / EXACT
        self.layers.append(layer)
        self.values.append(value)
        return Tensor(len(self.layers), value.shape, unit, rounding=rounding)

    def move(self, x: Tensor, layer: Layer) -> Tensor:
        """A layer that picks values and changes none. Behind norms it waits: the activation that follows never
        decreases, so it may come first."""
        if x.norms:
            return replace(x, shape=layer.infer(Value(x.shape, 1)).shape, later=(*x.later, layer))
        return replace(self.emit(replace(layer, inputs=(x.number,)), x.unit, x), pixels=x.pixels)

    def settle(self, x: Tensor, later: tuple[Layer, ...]) -> Tensor:
        """x with layers done that waited."""
        for layer in later:
            x = self.move(x, layer)
        return x

    def finish(self, x: Tensor) -> None:
        """Makes x the logits."""
        self.logits = x = known(x)
        if len(x.shape) != 1 or any(isinstance(layer, MaxPool) for layer in x.later):
            raise GxnorError(f"expected scores (batch, classes) from a weighted layer, got (batch, *{x.shape})")
        scale, bias = folding.scale(x.norms, x.unit, self.values[x.number].shape[0])
        each = math.prod(x.shape) // len(scale)  # features of one channel, where a Flatten is left to do
        sums = self.settle(Tensor(x.number, self.values[x.number].shape, x.unit), x.later)
        self.emit(Scale((sums.number,), np.repeat(scale, each), np.repeat(bias, each)), x.unit)


def tensor(x) -> Tensor:
    """x, unless it is unknown or no tensor."""
    if x is UNKNOWN:
        raise Unknown
    if not isinstance(x, Tensor):
        raise GxnorError(f"expected a value of the network, got {type(x).__name__}")
    return x


def known(x) -> Tensor:
    """x, if it is no bare pixels either."""
    if tensor(x).pixels:
        raise GxnorError("expected integers, got pixels: put gxnor.nn.Pixels() in front")
    return x


def integers(x) -> Tensor:
    """x, if it is integers times its unit."""
    if known(x).norms:
        raise GxnorError("expected discrete input, got real: batch norm or a bias, and no activation behind it")
    return x


def terms(layer: Layer) -> int:
    """How many numbers a sum of the layer adds up."""
    match layer:
        case Conv() | Dense():
            return layer.weight.size // layer.weight.shape[0]
        case SumPool():
            return math.prod(layer.kernel)
    return 2


def unit_of(space: DiscreteSpace) -> Fraction:
    """What the level 1 stands for, in float32."""
    return Fraction(float(np.float32(space.H))) / space.denominator


def power_of_two(unit: Fraction) -> bool:
    return unit.numerator.bit_count() == 1 and unit.denominator.bit_count() == 1
