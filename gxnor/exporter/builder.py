"""The program while it is built."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from gxnor.errors import GxnorError
from gxnor.exporter import folding, reach
from gxnor.exporter.tensors import Call, Tensor, known, power_of_two, unit_of
from gxnor.program import Input
from gxnor.program.ops import NEVER, Add, Conv, Dense, Flatten, Layer, MaxPool, Requantize, Scale, SumPool
from gxnor.program.values import Value

EXACT = 2**24  # float32 holds every integer up to here


class Builder:
    """Layers and values so far; `reach`: how far each channel of a value can move (`reach.of`); `requantized`: what became
    integers, and `sums`: the two parts of a sum, by the number of the value; `rounded`: where PyTorch rounds sums that the
    program does not; `calls`: what is compared with the model when the program is done; `outputs`: what
    the scores are by name, once `finish` was called.

    `at` says which part of the model is being looked at, `ends` whether what it makes is the model's output."""

    ends = False

    def __init__(self, source: Input):
        self.source, self.values = source, [source.value()]
        self.reach = [np.full(source.shape[0], float(self.values[0].bound))]
        self.layers: list[Layer] = []
        self.requantized: dict[int, Tensor] = {}
        self.sums: dict[int, tuple[Tensor, Tensor]] = {}
        self.at = ""
        self.rounded: dict[str, None] = {}  # in order, once each
        self.fixed: dict[str, None] = {}  # where real numbers become integers
        self.notes: list[str] = []
        self.calls: list[Call] = []
        self.outputs: dict[str, Tensor] = {}

    @property
    def output_names(self) -> tuple[str, ...]:
        """Those of the program; a single output needs none."""
        return tuple(self.outputs) if len(self.outputs) > 1 else ()

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
        self.reach.append(reach.of(layer, value, *(self.reach[i] for i in layer.inputs)))
        self.layers.append(layer)
        self.values.append(value)
        return Tensor(len(self.layers), value.shape, unit, rounding=rounding)

    def fixed_unit(self, x: Tensor, *limits: int) -> Fraction:
        """The unit in which real numbers x take up to one of the limits: the first for which the range of a typical
        channel has 2^13 steps or more, else the last. Raises GxnorError where it has not even 2^6."""
        bound, channels = self.values[x.number].bound, self.values[x.number].shape[0]
        scale, bias = folding.affine(x.norms, x.unit, channels)
        typical = float(np.median(np.abs(scale) * self.reach[x.number]))
        for most in limits or (EXACT,):
            unit = folding.natural_unit(scale, bias, bound, most)
            if unit * 2**13 <= typical or not typical:
                return unit
        if unit * 2**6 > typical:
            raise GxnorError(
                "the batch norm before it scales a channel far more than the others, one that hardly ever changes, and "
                "integers of one unit cannot hold both: leave that channel out, or raise eps"
            )
        return unit

    def requantize(self, x: Tensor, unit: Fraction) -> Tensor:
        """Real numbers x as integers of this unit. PyTorch's own are off by the rounding of its batch norm, ours by half a
        unit."""
        x = self.settled(x)
        value = self.values[x.number]
        affine = folding.affine(x.norms, x.unit, value.shape[0])
        shift, multiplier, offset, off = folding.fixed_point(*affine, value.bound, unit)
        y = self.emit(Requantize((x.number,), shift, multiplier, offset), unit)
        self.fixed[self.at] = None
        self.requantized[y.number] = x
        return replace(y, rounding=x.rounding + 8 / EXACT + off / max(self.values[y.number].bound, 1))

    def settled(self, x: Tensor) -> Tensor:
        """x with no layer left that waits after its norms. Those that rise may come after the pooling as well; in channels
        where they fall, the largest is that of the negative sums."""
        if not x.later:
            return x
        value = self.values[x.number]
        plain = replace(x, norms=(), later=(), shape=value.shape)
        sign = np.where(folding.affine(x.norms, x.unit, value.shape[0])[0] < 0, -1, 1).astype(np.int32)
        turned = (sign < 0).any() and any(isinstance(layer, MaxPool) for layer in x.later)
        plain = self.settle(self._signed(plain, sign) if turned else plain, x.later)
        order = torch.arange(value.shape[0]).repeat_interleave(plain.shape[0] // value.shape[0])  # flattened channels
        plain = self._signed(plain, sign[order.numpy()]) if turned else plain
        return replace(plain, norms=tuple(step.pick(order) for step in x.norms))

    def _signed(self, x: Tensor, sign: np.ndarray) -> Tensor:
        return self.emit(Requantize((x.number,), 0, sign, np.zeros(len(sign), np.int64)), x.unit, x)

    def copy(self, x: Tensor, layer: Layer, order: torch.Tensor | None = None) -> Tensor:
        """A layer that only copies values, channels in `order`: it may come before the norms."""
        x = self.settled(x)
        y = self.emit(replace(layer, inputs=(x.number,)), x.unit, x)
        norms = x.norms if order is None else tuple(step.pick(order) for step in x.norms)
        return replace(y, norms=norms)

    def move(self, x: Tensor, layer: MaxPool | Flatten) -> Tensor:
        """A layer that picks values and changes none. After norms it waits: the activation that follows never
        decreases, so it may come first."""
        if x.norms:
            return replace(x, shape=layer.infer(Value(x.shape, 1)).shape, later=(*x.later, layer))
        return replace(self.emit(replace(layer, inputs=(x.number,)), x.unit, x), pixels=x.pixels)

    def settle(self, x: Tensor, later: tuple[MaxPool | Flatten, ...]) -> Tensor:
        """x with layers done that waited."""
        for layer in later:
            x = self.move(x, layer)
        return x

    def finish(self, outputs: dict[str, Tensor]) -> None:
        """Makes these the outputs."""
        for name, x in outputs.items():
            if x.last:
                self.notes.append(f"{x.last[0]} at the end is left out: the program gives the scores before it")
            self.outputs[name] = replace(self.settled(known(replace(x, last=None))), last=x.last)
            if x.shape != self.values[self.outputs[name].number].shape:
                raise GxnorError(f"expected scores (batch, classes) or (batch, classes, ...), got (batch, *{x.shape})")
        for x in self.outputs.values():
            scale, bias = folding.affine(x.norms, x.unit, x.shape[0])
            self.emit(Scale((x.number,), scale.astype(np.float32), bias.astype(np.float32)), x.unit)

    def warnings(self) -> list[str]:
        """What is to be known of the program: what it leaves out, and where PyTorch rounds otherwise."""
        ties = ": predictions can differ where two states or classes nearly tie"
        notes = list(self.notes)
        if self.rounded:
            notes.append(f"PyTorch rounds the sums of {', '.join(self.rounded)}, the program does not{ties}")
        if self.fixed:
            notes.append(f"real numbers become integers before {', '.join(self.fixed)}{ties}")
        return notes

    def prune(self) -> None:
        """Takes away layers that nothing depends on, the half of a split for example."""
        used = set(range(len(self.layers) - len(self.outputs) + 1, len(self.layers) + 1))
        for number in range(len(self.layers), 0, -1):
            if number in used:
                used.update(self.layers[number - 1].inputs)
        numbers = {0: 0} | {old: new for new, old in enumerate(sorted(used - {0}), 1)}

        def renumber(x: Tensor) -> Tensor:
            return replace(x, number=numbers[x.number])

        self.layers = [
            replace(self.layers[old - 1], inputs=tuple(numbers[i] for i in self.layers[old - 1].inputs))
            for old in numbers
            if old
        ]
        self.values = [self.values[old] for old in numbers]
        self.outputs = {name: renumber(x) for name, x in self.outputs.items()}
        self.calls = [
            Call(call.place, call.module, renumber(call.given), renumber(call.made))
            if call.given and call.made and {call.given.number, call.made.number} <= numbers.keys()
            else Call(call.place, call.module)
            for call in self.calls
        ]


def integers(build: Builder, x, terms: int = 1) -> Tensor:
    """x as integers times a unit, small enough for a sum of so many: real numbers, after batch norm, are made some."""
    if not known(x).norms:
        return x
    return build.requantize(x, build.fixed_unit(x, min(EXACT, (NEVER - 1) // (2 * terms))))


def terms(layer: Layer) -> int:
    """How many numbers a sum of the layer adds up."""
    match layer:
        case Conv() | Dense():
            return layer.weight.size // layer.weight.shape[0]
        case SumPool():
            return math.prod(layer.kernel)
    return 2
