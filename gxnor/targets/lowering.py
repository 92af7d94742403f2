"""A program as a short list of stages that a machine without floats or wide memory runs well: NumPy only, no target's
language.

What lowering does, each exactly:

* every value gets a height and a width: (C, L) is (C, 1, L), (F,) is (F, 1, 1);
* a Flatten that only Dense layers read is folded away: Dense is a convolution whose kernel covers the whole input;
* a sum, its max-pooling and its thresholds become one stage. A threshold is monotone in the sum, so

      max over the window of x >= t    is    OR over the window of (x >= t)

  and pooling costs one OR of bits per step;
* signs leave the thresholds. With sign -1 a state counts the steps k with -x >= t_k, that is x < 1 - t_k. So the state is
  the mirror image of the one that x makes of the steps 1 - t_k, and levels are symmetric: it is that one's negative.
  Where nothing is pooled before the threshold, weights are negated instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from gxnor.errors import GxnorError
from gxnor.program import (
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Pad,
    Program,
    Requantize,
    Scale,
    SumPool,
    Threshold,
    Upsample,
)
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

    shape: tuple[int, int, int]
    bound: int
    space: DiscreteSpace | None


@dataclass(frozen=True, eq=False)
class Lowered:
    """Stages in the order they run, and what is known of the values that they read and make, by number; 0 is the input."""

    program: Program
    stages: tuple[Stage, ...]
    values: dict[int, Lifted]


def lower(program: Program) -> Lowered:
    """The stages of a program. Raises GxnorError that names the layer for one that lowering does not know."""
    if program.input.low is not None:
        raise GxnorError("a program that takes real numbers has no form for this target yet: gxnor.load runs it")
    if program.output_names:
        raise GxnorError(
            f"expected a program with one output, got {', '.join(program.output_names)}: gxnor.load runs it"
        )
    readers: dict[int, list[int]] = {}
    for number, layer in enumerate(program.layers, 1):
        for source in layer.inputs:
            readers.setdefault(source, []).append(number)
    walk = _Walk(program, readers)
    stages = []
    number = 1
    while number <= len(program.layers):
        if number not in walk.done and (stage := walk.stage(number)) is not None:
            stages.append(stage)
        number += 1
    stages.sort(key=lambda stage: stage.result)
    numbers = {0, *(number for stage in stages for number in (*stage.sources, stage.result))}
    values = {
        number: Lifted(lift(value.shape), value.bound, value.space)
        for number, value in enumerate(program.values)
        if number in numbers
    }
    return Lowered(program, tuple(stages), values)


def lift(shape: tuple[int, ...]) -> Triple:
    """(C, height, width) of (C, H, W), (C, L) and (F,)."""
    channels, *extents = shape
    return cast(Triple, (channels, *(1,) * (2 - len(extents)), *extents))


class _Walk:
    """Makes the stage of a layer, and of those after it that it takes in."""

    def __init__(self, program: Program, readers: dict[int, list[int]]):
        self.program, self.readers = program, readers
        self.done: set[int] = set()  # layers that a stage before has taken in
        self.alias: dict[int, int] = {}  # flattened values that are read where they come from

    def stage(self, number: int) -> Stage | None:
        """The stage of a layer; None where it takes none."""
        layer, values = self.program.layers[number - 1], self.program.values
        base = ((number,), tuple(self.alias.get(source, source) for source in layer.inputs), number)
        shape = lift(values[base[1][0]].shape)
        match layer:
            case Conv() | Dense():
                return self._linear(layer, number, base[1][0], shape)
            case Threshold():
                return Quantize(*base, mirrored(layer))
            case MaxPool():
                return Max(*base, _window(layer, values[number].shape))
            case SumPool():
                return Sum(*base, _window(layer, values[number].shape))
            case Add():
                return Plus(*base, layer.factors)
            case Flatten():
                dense = all(isinstance(self.program.layers[reader - 1], Dense) for reader in self.readers[number])
                if shape[1:] == (1, 1) or dense:
                    self.alias[number] = base[1][0]
                    return None
                return Reorder(*base)
            case Requantize():
                return Rescale(*base, layer.shift, layer.multiplier, layer.offset)
            case Concat():
                return Join(*base)
            case Pad():
                return Border(*base, _two(layer.before, 0))
            case Upsample():
                return Repeat(*base, _two(layer.factors, 1))
            case Channels():
                return Select(*base, layer.order)
            case Scale() if shape[1:] == (1, 1):
                return Logits(*base, layer.scale, layer.bias)
            case Scale():
                raise GxnorError(
                    f"layer {number} (Scale): scores for every place, where this target gives one class an input"
                )
        raise GxnorError(f"layer {number} ({type(layer).__name__}): no stage does what it does")

    def _linear(self, layer: Conv | Dense, number: int, source: int, shape: tuple[int, int, int]) -> Linear:
        weight = layer.weight.levels()
        if isinstance(layer, Dense):
            weight, groups = weight.reshape(len(weight), *shape), 1
            window = Window(shape[1:], (1, 1), (0, 0), (1, 1), (1, 1))
        else:
            weight, groups = weight.reshape(*weight.shape[:2], *lift((1, *weight.shape[2:]))[1:]), layer.groups
            window = _window(layer, self.program.values[number].shape)
        size = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1)
        stage = Linear(
            (number,), (source,), number, weight, window, groups, size * self.program.values[layer.inputs[0]].bound
        )
        chain = self._chain(number)
        taken = [self.program.layers[i - 1] for i in chain]
        threshold = next((after for after in taken if isinstance(after, Threshold)), None)
        if threshold is None:
            return stage
        self.done.update(chain)
        steps = mirrored(threshold)
        pool = Window((1, 1), (1, 1), (0, 0), (1, 1), window.count)
        for at, after in zip(chain, taken, strict=True):
            if isinstance(after, MaxPool):
                pool = _window(after, self.program.values[at].shape)
        if taken[0] is threshold:  # nothing is pooled before: let the weights carry the signs
            flip = steps.flip
            weight = np.where(flip[:, None, None, None], -weight, weight).astype(np.int8)
            turned = np.where(flip[:, None], 1 - steps.steps[:, ::-1], steps.steps)
            steps = Steps(steps.space, turned, np.zeros_like(flip))
        return replace(
            stage, layers=(number, *chain), result=chain[-1], weight=weight, pool=pool, steps=steps
        )  # fmt: skip

    def _chain(self, number: int) -> list[int]:
        """The layers after a sum that belong to its stage: a Threshold, and a MaxPool before or after it whose windows
        lie apart, so that no sum is computed twice."""
        chain: list[int] = []
        while len(chain) < 2 and len(self.readers[number]) == 1:
            number = self.readers[number][0]
            layer = self.program.layers[number - 1]
            kinds = [type(self.program.layers[i - 1]) for i in chain]
            if not isinstance(layer, Threshold | MaxPool) or type(layer) in kinds:
                break
            if isinstance(layer, MaxPool) and not _window(layer, self.program.values[number].shape).apart:
                break
            chain.append(number)
        return chain


def mirrored(layer: Threshold) -> Steps:
    """Its steps without the signs; see the module."""
    flip = layer.sign < 0
    steps = layer.thresholds.astype(np.int64)  # 1 - ALWAYS is 2^31 + 1 and as far beyond every sum as NEVER
    return Steps(layer.space, np.where(flip[:, None], 1 - steps[:, ::-1], steps), flip)


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


def _window(layer: Conv | MaxPool | SumPool, result: tuple[int, ...]) -> Window:
    """Of a 2-d layer, or of a 1-d one with a height of 1."""
    kernel = _two(layer.weight.shape[2:] if isinstance(layer, Conv) else layer.kernel, 1)
    dilation = (1, 1) if isinstance(layer, SumPool) else _two(layer.dilation, 1)
    return Window(kernel, _two(layer.stride, 1), _two(layer.padding, 0), dilation, lift(result)[1:])


def _two(values: tuple[int, ...], height: int) -> Pair:
    return cast(Pair, values if len(values) == 2 else (height, *values))


def macs(stage: Linear) -> int:
    """Products of a stage, those with padding included."""
    return stage.weight.size * math.prod(stage.window.count)
