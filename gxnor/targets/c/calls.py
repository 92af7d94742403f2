"""The calls of kernels that a program becomes, and where each finds what it reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from gxnor.errors import GxnorError
from gxnor.targets.arena import Buffer, place
from gxnor.targets.c import tables
from gxnor.targets.stages import Linear, Lowered, Stage

LIST = 128  # events that are listed before they are counted
MAX_EXTENT = 2**15 - 1  # of what the kernels keep in 16 bits


@dataclass
class Step:
    """A call of a kernel.

    kernel: its name and that of its struct. parts: the files of `kernels` that it needs. fields: the numbers of its
    struct, after the window. tables: name and array. arguments: of the call, where buffers stand for their place."""

    label: str
    kernel: str
    parts: tuple[str, ...]
    arguments: list
    struct: str | None = None
    fields: list = field(default_factory=list)
    tables: dict[str, np.ndarray] = field(default_factory=dict)
    stage: Stage | None = None  # None for a change of form
    rest: np.ndarray | None = None  # of the input's channels, where events are told by it
    rows: int = 0  # what an event's number is below
    ram: int = 0  # bytes of its result and scratch

    @property
    def flash(self) -> int:
        """Bytes of its tables."""
        return sum(table.nbytes for table in self.tables.values())

    @property
    def outputs(self) -> int:
        """Channels that a sum over windows makes; 0 of another step."""
        return len(self.stage.weight) if isinstance(self.stage, Linear) else 0


@dataclass
class Plan:
    lowered: Lowered
    steps: list[Step]
    arena: int  # words

    @property
    def flash(self) -> int:
        """Bytes of all tables."""
        return sum(step.flash for step in self.steps)

    @property
    def event_bytes(self) -> int:
        """Of a listed event; 0 where no kernel lists events."""
        rows = max(step.rows for step in self.steps)
        return 0 if rows == 0 else 2 if rows < 2**16 else 4

    @property
    def ram(self) -> int:
        """Bytes of static memory: the arena, and the list of events."""
        return 4 * self.arena + self.event_bytes * (LIST + 8)


@dataclass(frozen=True)
class At:
    """A buffer as an argument, of a type."""

    buffer: Buffer
    signed: bool


class Calls:
    """The calls so far. A value lies in memory as integers, as states, or as both."""

    def __init__(self, lowered: Lowered):
        self.lowered = lowered
        self.steps: list[Step] = []
        self.buffers: list[Buffer] = []
        self.made: dict[tuple[int, bool], Buffer] = {}  # by value and whether it is integers

    def plan(self) -> Plan:
        return Plan(self.lowered, self.steps, place(self.buffers))

    def read(self, number: int, integers: bool) -> At:
        """The value as integers or as states, made from the other form if need be."""
        if (number, integers) not in self.made:
            self._convert(number, integers)
        buffer = self.made[number, integers]
        self.keep(buffer)
        return At(buffer, integers)

    def _convert(self, number: int, integers: bool) -> None:
        value = self.lowered.values[number]
        channels, *extents = value.shape
        places, size = math.prod(extents), math.prod(value.shape)
        if number == 0 and (0, True) not in self.made:
            factor, offset = (2, -255) if value.space is None else (1, -value.bound)
            if value.space is not None and value.space.N == 0:
                factor = 2
            write = self.new(0, size, True)
            self.add(None, "read_input", ("read",), ["pixels", write, places, channels, factor, offset])
            if integers:
                return
        read = self.read(number, not integers)
        bits = value.bound.bit_length()
        write = self.new(number, size if integers else state_words(channels, places, value.bound), integers)
        kernel = "unpack" if integers else "pack"
        self.add(None, kernel, (kernel,), [read, write, places, channels, bits])

    def write(self, stage: Stage, integers: bool) -> At:
        """Room for the result of a stage."""
        value = self.lowered.values[stage.result]
        size = math.prod(value.shape)
        if not integers:
            size = state_words(value.shape[0], math.prod(value.shape[1:]), value.bound)
        return self.new(stage.result, size, integers)

    def new(self, number: int, words: int, integers: bool) -> At:
        """Room for a value, or for what a stage makes on the way to one, under a number that no value has."""
        buffer = Buffer(words, len(self.steps), len(self.steps))
        self.buffers.append(buffer)
        self.made[number, integers] = buffer
        return At(buffer, integers)

    def scratch(self, words: int) -> At:
        """Room that the next call alone needs."""
        buffer = Buffer(words, len(self.steps), len(self.steps))
        self.buffers.append(buffer)
        return At(buffer, False)

    def keep(self, buffer: Buffer) -> None:
        """The next call reads it."""
        buffer.last = len(self.steps)

    def add(self, stage: Stage | None, kernel: str, parts: tuple[str, ...], arguments: list, **more) -> None:
        label = "" if stage is None else layer_names(self.lowered, stage)
        for number in (n for entry in more.get("fields", []) for n in (entry if isinstance(entry, list) else [entry])):
            if number > MAX_EXTENT and kernel != "quantize":
                raise GxnorError(f"expected no number beyond {MAX_EXTENT} in its description, got {number}")
        ram = 4 * sum(at.buffer.words for at in arguments if isinstance(at, At) and at.buffer.first == len(self.steps))
        self.steps.append(Step(label, kernel, parts, arguments, stage=stage, ram=ram, **more))


def layer_names(lowered: Lowered, stage: Stage) -> str:
    names = [type(lowered.program.layers[number - 1]).__name__ for number in stage.layers]
    return f"{stage.layers[0]} {' '.join(names)}"


def state_words(channels: int, places: int, bound: int) -> int:
    return places * -(-channels // tables.LANES) * 2 * bound.bit_length()
