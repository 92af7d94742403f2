"""From a lowered program to the groups of sums and the steps of its circuit. NumPy only."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gxnor.errors import GxnorError
from gxnor.space import DiscreteSpace
from gxnor.targets.stages import (
    Linear,
    Logits,
    Lowered,
    Max,
    Plus,
    Quantize,
    Rescale,
    Stage,
    Steps,
    Sum,
    Window,
)
from gxnor.targets.verilog.parts import Largest, Part, Pending, eye, planes, ungrouped
from gxnor.targets.verilog.plan import Edge, Emission, Input, Numbers, Pair, Plan, States, Step, Sums

POINT = (1, 1)


def make(lowered: Lowered) -> Plan:
    """Raises GxnorError, naming the layer, for a program that the circuit does not run."""
    build = _Build(lowered)
    for stage in lowered.stages:
        build.add(stage)
    last = lowered.stages[-1]
    assert isinstance(last, Logits)  # every program ends in a Scale
    read: set[Sums] = set()
    steps: list[Step] = []
    for step in reversed(build.steps):
        source = step.emission and step.emission.source
        steps.append(replace(step, clears=source not in read))
        read |= {source} if source else set()
    return Plan(build.sums, steps[::-1], build.input, last)


class _Build:
    """Groups and steps so far. `values` says of every value of the program where it is: None for an input whose events are
    taken as they come; one that is read several times is kept in accumulators, with its border, as any other."""

    def __init__(self, lowered: Lowered):
        self.lowered = lowered
        self.sums: list[Sums] = []
        self.steps: list[Step] = []
        self.values: dict[int, Pending | Largest | Emission | None] = {0: None}
        value = lowered.values[0]
        readers = [stage for stage in lowered.stages if 0 in stage.sources]
        border = (0, 0)
        if value.space is None:
            for stage in readers:
                if not isinstance(stage, Linear | Sum):
                    raise GxnorError(f"{self.where(stage)} reads pixels, which the circuit only adds up")
                border = (max(border[0], stage.window.padding[0]), max(border[1], stage.window.padding[1]))
        channels, height, width = value.shape
        shape = (channels, height + 2 * border[0], width + 2 * border[1])
        match readers:
            case [Linear(weight=weight, steps=steps, result=result)] if np.abs(weight).max() <= 1:
                once = steps is not None or not self.joins(result)
            case _:
                once = False
        factor = 1 if value.space is not None or (once and border == (0, 0)) else 2
        self.input = Input(shape, value.space is not None, factor, border)
        if not once:
            low, high = self.reach()
            kept = Sums((), shape, np.full(channels, low), np.full(channels, high), 1, np.zeros(channels, np.int64))
            self.sums.append(kept)
            window = Window(POINT, POINT, (0, 0), POINT, shape[1:])
            self.steps.append(Step(None, Edge(shape, eye(channels).astype(np.int8), window, kept)))
            self.values[0] = _numbers(kept, high)

    def where(self, stage: Stage) -> str:
        layer = type(self.lowered.program.layers[stage.layers[0] - 1]).__name__
        return f"layer {stage.layers[0]} ({layer})"

    def reach(self) -> Pair:
        """The smallest and the largest value of an event of the input."""
        return (
            (-self.lowered.values[0].bound, self.lowered.values[0].bound)
            if self.input.signed
            else (0, 255 * self.input.factor)
        )

    def joins(self, number: int) -> bool:
        """Whether all that is done with a value is to add it to another."""
        readers = [stage for stage in self.lowered.stages for source in stage.sources if source == number]
        return len(readers) == 1 and isinstance(readers[0], Plus)

    def add(self, stage: Stage) -> None:
        """Says where the stage's value is."""
        first, to = stage.sources[0], self.lowered.values[stage.result]
        source = self.values[first]
        made: Pending | Largest | Emission
        match stage:
            case Linear(steps=None) | Sum():
                made = Pending(stage.layers, to.shape, [self.part(stage)])
            case Linear(steps=Steps() as steps):
                counts = (len(stage.weight), *stage.window.count)
                pool = stage.pool if stage.pool is not None and stage.pool.kernel != POINT else None
                made = _states(self.accumulators(Pending(stage.layers, counts, [self.part(stage)])), steps, pool)
            case Plus():
                parts = [
                    replace(part, weight=part.weight * factor)
                    for number, factor in zip(stage.sources, stage.factors, strict=True)
                    for part in self.terms(number)
                ]
                made = Pending(stage.layers, to.shape, [part for part in parts if part.weight.any()] or parts[:1])
            case Quantize() if isinstance(source, Largest):
                made = _states(source.sums, stage.steps, source.window)
            case Quantize():
                made = _states(self.settled(first), stage.steps)
            case Rescale():
                sums = self.settled(first)
                wide = stage.multiplier.astype(object)
                offset = stage.offset + wide * sums.constant.astype(object)
                made = replace(
                    _numbers(sums, to.bound), shift=stage.shift, multiplier=wide * sums.factor, offset=offset
                )
            case Max() if isinstance(source, Pending) and to.space is None:
                made = Largest(self.accumulators(source), stage.window)
            case Max() if to.space is not None:
                if not isinstance(source, States) or source.pool is not None:
                    source = _states(self.settled(first), _apart(to.space, to.shape[0]))
                made = replace(source, pool=stage.window, least=bool(source.flip.any()))
            case Max():
                raise GxnorError(f"{self.where(stage)} pools numbers that are not states: the circuit compares none")
            case Logits():
                self.steps.append(Step(_numbers(self.settled(first), 0), None))
                return
            case _:
                raise GxnorError(
                    f"{self.where(stage)} has no form in the circuit, which runs convolutions, dense layers, additions, "
                    "thresholds, batch norms before additions, max-pools and average pools"
                )
        self.values[stage.result] = made

    def part(self, stage: Linear | Sum) -> Part:
        number = stage.sources[0]
        value = self.lowered.values[number]
        weight = eye(value.shape[0]) if isinstance(stage, Sum) else ungrouped(stage, value.shape[0])
        part = replace(self.whole(number), weight=weight, window=stage.window)
        if number or self.input.signed:
            return part
        (up, left), border = stage.window.padding, self.input.border
        window = replace(stage.window, padding=(up - border[0], left - border[1]))  # negative within a wider border
        factor = 2 // self.input.factor
        return replace(part, shape=self.input.shape, window=window, factor=factor, offset=-255)

    def whole(self, number: int) -> Part:
        """A value as it is: channel by channel, place by place."""
        emission, value = self.emission(number), self.lowered.values[number]
        least, most = (-value.bound, value.bound) if number else self.reach()
        window = Window(POINT, POINT, (0, 0), POINT, value.shape[1:])
        return Part(emission, value.shape, eye(value.shape[0]), window, least, most)

    def terms(self, number: int) -> list[Part]:
        """The parts of a value that is added: its own, where nothing else is done with it."""
        value = self.values[number]
        return value.parts if isinstance(value, Pending) and self.joins(number) else [self.whole(number)]

    def emission(self, number: int) -> Emission | None:
        """Events of a value; None for those of an input that are taken as they come."""
        value = self.values[number]
        if isinstance(value, Largest):
            layer = type(self.lowered.program.layers[number - 1]).__name__
            raise GxnorError(f"layer {number} ({layer}) pools numbers that are not states: the circuit compares none")
        if isinstance(value, Pending):
            return _numbers(self.accumulators(value), self.lowered.values[number].bound)
        return value

    def settled(self, number: int) -> Sums:
        """A value in accumulators."""
        value = self.values[number]
        if not isinstance(value, Pending):
            value = self.values[number] = Pending((), self.lowered.values[number].shape, [self.whole(number)])
        return self.accumulators(value)

    def accumulators(self, pending: Pending) -> Sums:
        """The group of a sum; the first time, with the steps that fill it."""
        if pending.sums is None:
            low = high = constant = np.zeros(pending.shape[0], np.int64)
            for part in pending.parts:
                taps = 1 if part.weight.shape[1:3] == part.window.kernel else math.prod(part.window.kernel)
                flat = taps * part.weight.reshape(-1, pending.shape[0])
                rises, falls = flat.clip(0).sum(axis=0), (-flat).clip(0).sum(axis=0)
                low, high = low + part.least * rises - part.most * falls, high + part.most * rises - part.least * falls
                constant = constant + part.offset * flat.sum(axis=0)
            factor = max(part.factor for part in pending.parts)  # 2: it is the only part
            pending.sums = Sums(pending.numbers, pending.shape, low, high, factor, constant)
            self.sums.append(pending.sums)
            for part in pending.parts:
                for shift, plane in planes(part.weight):
                    self.steps.append(Step(part.emission, Edge(part.shape, plane, part.window, pending.sums), shift))
        return pending.sums


def _numbers(sums: Sums, bound: int) -> Numbers:
    """The values that sums stand for."""
    factor = np.full(sums.shape[0], sums.factor, dtype=object)
    return Numbers(sums, bound, 0, factor, sums.constant.astype(object))


def _states(sums: Sums, steps: Steps, pool: Window | None = None) -> States:
    """factor x + constant >= t is x >= ceil((t - constant) / factor)."""
    own = -(-(steps.steps - sums.constant[:, None]) // sums.factor)
    own = np.clip(own, sums.low[:, None], sums.high[:, None] + 1)
    return States(sums, steps.space.denominator, steps.space, own, steps.flip, pool)


def _apart(space: DiscreteSpace, channels: int) -> Steps:
    """Levels as they are."""
    return Steps(space, space.levels.astype(np.int64)[None, 1:].repeat(channels, axis=0), np.zeros(channels, bool))
