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

from dataclasses import replace
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
from gxnor.targets.stages import (
    Border,
    Join,
    Lifted,
    Linear,
    Logits,
    Lowered,
    Max,
    Pair,
    Plus,
    Quantize,
    Reorder,
    Repeat,
    Rescale,
    Select,
    Stage,
    Steps,
    Sum,
    Triple,
    Window,
)


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


def _window(layer: Conv | MaxPool | SumPool, result: tuple[int, ...]) -> Window:
    """Of a 2-d layer, or of a 1-d one with a height of 1."""
    kernel = _two(layer.weight.shape[2:] if isinstance(layer, Conv) else layer.kernel, 1)
    dilation = (1, 1) if isinstance(layer, SumPool) else _two(layer.dilation, 1)
    return Window(kernel, _two(layer.stride, 1), _two(layer.padding, 0), dilation, lift(result)[1:])


def _two(values: tuple[int, ...], height: int) -> Pair:
    return cast(Pair, values if len(values) == 2 else (height, *values))
