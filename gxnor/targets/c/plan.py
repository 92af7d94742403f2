"""Which kernel runs a stage, with which tables, and where its values lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from gxnor.errors import GxnorError
from gxnor.targets.arena import Buffer, place
from gxnor.targets.c import tables
from gxnor.targets.stages import (
    Border,
    Join,
    Linear,
    Logits,
    Lowered,
    Max,
    Plus,
    Quantize,
    Reorder,
    Repeat,
    Rescale,
    Select,
    Stage,
    Sum,
    Window,
    on_pixels,
)

LIST = 128  # events that are listed before they are counted
MAX_EXTENT = 2**15 - 1  # of what the kernels keep in 16 bits
MAX_PAIRED = 2**14 - 1  # of a sum over pixels: two share a word, and so do their distances to thresholds


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


def make(lowered: Lowered, rests: dict[int, np.ndarray], planes: frozenset[int] = frozenset()) -> Plan:
    """The plan for states that rest as `rest.states` says; `planes` are results of stages that are summed by bit planes,
    and `has_planes` says which can be. Raises GxnorError that names the layer where one is beyond the kernels."""
    planner = _Planner(lowered, rests, planes)
    for stage in lowered.stages:
        try:
            planner.add(stage)
        except GxnorError as error:
            number = stage.layers[0]
            raise GxnorError(f"layer {number} ({type(lowered.program.layers[number - 1]).__name__}): {error}") from None
    return Plan(lowered, planner.steps, place(planner.buffers))


def has_planes(lowered: Lowered, stage: Stage) -> bool:
    """Whether bit planes can sum a stage: weights and inputs of -1, 0 and 1 at most."""
    if not isinstance(stage, Linear) or stage.groups != 1:
        return False
    source = lowered.values[stage.sources[0]]
    return source.space is not None and source.bound == 1 and bool(np.abs(stage.weight).max() <= 1)


def state_words(channels: int, places: int, bound: int) -> int:
    return places * -(-channels // tables.LANES) * 2 * bound.bit_length()


class _Planner:
    def __init__(self, lowered: Lowered, rests: dict[int, np.ndarray], planes: frozenset[int]):
        self.lowered, self.rests, self.planes = lowered, rests, planes
        self.steps: list[Step] = []
        self.buffers: list[Buffer] = []
        self.made: dict[tuple[int, bool], Buffer] = {}  # by value and whether it is integers

    def add(self, stage: Stage) -> None:
        match stage:
            case Linear():
                self._linear(stage)
            case Quantize():
                self._quantize(stage)
            case Max() | Sum():
                source, kernel = stage.sources[0], "max" if isinstance(stage, Max) else "sum"
                read = self._read(source, True)
                self._step(
                    stage, f"{kernel}_pool", ("common", kernel), [read, self._write(stage, True), self._channels(source)],
                    struct="window", fields=_window(stage.window, self.lowered.values[source].shape[1:]),
                )  # fmt: skip
            case Plus():
                count = math.prod(self.lowered.values[stage.result].shape)
                reads = [self._read(source, True) for source in stage.sources]
                self._step(stage, "add", ("add",), [*reads, self._write(stage, True), count, *stage.factors])
            case Reorder():
                channels, *extents = self.lowered.values[stage.sources[0]].shape
                read = self._read(stage.sources[0], True)
                self._step(
                    stage, "reorder", ("reorder",), [read, self._write(stage, True), math.prod(extents), channels]
                )
            case Rescale() | Join() | Border() | Repeat() | Select():
                self._move(stage)
            case Logits():
                read = self._read(stage.sources[0], True)
                scale = {"scale": stage.scale, "bias": stage.bias}
                self._step(stage, "scale_sums", ("logits",), [read, "logits", len(stage.scale), *scale], tables=scale)
            case _:
                raise GxnorError(f"the C target has no kernel for {type(stage).__name__}")

    def _linear(self, stage: Linear) -> None:
        value = self.lowered.values[stage.sources[0]]
        if stage.sources[0] == 0 and value.space is None and stage.steps is not None and stage.groups == 1:
            factor, border, steps = on_pixels(stage)
            reach = np.abs(tables.rows(stage.weight)).sum(axis=1) * 255 * factor
            if steps is not None and reach.max() <= MAX_PAIRED:
                return self._pixels(stage, factor, border, steps, reach)
        if stage.result in self.planes:
            return self._planes(stage)
        if value.space is not None and stage.groups == 1:
            return self._events(stage)
        return self._direct(stage)

    def _pixels(self, stage: Linear, factor: int, border: int, steps: np.ndarray, reach: np.ndarray) -> None:
        channels, *extents = self.lowered.values[stage.sources[0]].shape
        out, groups, count = len(stage.weight), -(-len(stage.weight) // tables.LANES), steps.shape[1]
        assert stage.steps is not None
        thresholds = tables.pixel_thresholds(steps, reach)
        constants = {
            "weights": tables.pixel_weights(stage.weight),
            "thresholds": np.concatenate([thresholds.reshape(-1), tables.words(stage.steps.flip)]),
        }
        scratch = self._scratch(16 + groups * count + 2 * stage.weight[0].size)
        self._step(
            stage, "pixels_to_states", ("common", "states", "pixels"), ["pixels", self._write(stage, False), scratch],
            struct="pixels", tables=constants,
            fields=[_linear_window(stage, extents), channels, groups, count, out, factor, border],
        )  # fmt: skip

    def _events(self, stage: Linear) -> None:
        source = self.lowered.values[stage.sources[0]]
        channels, *extents = source.shape
        read = self._read(stage.sources[0], False)
        out, groups = len(stage.weight), -(-len(stage.weight) // tables.LANES)
        rest = self.rests[stage.sources[0]]
        if source.bound > 1:
            rest = np.zeros_like(rest)  # the kernel knows rests of binary and ternary states
        constants = tables.resting_sums(stage.weight, rest)
        in_bits, weight_bits = source.bound.bit_length(), max(int(np.abs(stage.weight).max()).bit_length(), 1)
        bits = 2 if rest.any() else in_bits
        largest = int((stage.reach + np.abs(constants)).max())
        planes = max((largest + 1).bit_length() + 1, bits + weight_bits + 3)
        count = 0 if stage.steps is None else stage.steps.steps.shape[1]
        arrays = {"weights": tables.event_weights(stage.weight, weight_bits), "masks": tables.event_masks(rest, bits)}
        if stage.steps is None:
            arrays["constants"] = constants.astype(np.int32)
        else:
            steps = tables.clipped(stage.steps.steps, stage.reach) - constants[:, None]
            thresholds = tables.event_thresholds(steps, planes)
            arrays["thresholds"] = np.concatenate([thresholds.reshape(-1), tables.words(stage.steps.flip)])
        scratch = self._scratch(groups * (planes + count))
        write, kernel = self._write(stage, stage.steps is None), "sums" if stage.steps is None else "states"
        needs: tuple[str, ...] = ("common", "lowest", "events", "events_sums")
        if stage.steps is not None:
            needs = ("common", "states", "lowest", "events", "events_states")
        self._step(
            stage, f"events_to_{kernel}", needs, [read, write, scratch], struct="events", tables=arrays,
            fields=[_linear_window(stage, extents), channels, -(-channels // tables.LANES), in_bits, bits, groups,
                    weight_bits, planes, count, out],
            rows=stage.weight[0].size, rest=rest,
        )  # fmt: skip

    def _planes(self, stage: Linear) -> None:
        channels, *extents = self.lowered.values[stage.sources[0]].shape
        read, write = self._read(stage.sources[0], False), self._write_sums(stage)
        self._step(
            stage, "planes_to_sums", ("common", "planes"), [read, write], struct="planes",
            fields=[_linear_window(stage, extents), -(-channels // tables.LANES), len(stage.weight)],
            tables={"weights": tables.plane_weights(stage.weight)},
        )  # fmt: skip
        self._after_sums(stage, write)

    def _direct(self, stage: Linear) -> None:
        channels, *extents = self.lowered.values[stage.sources[0]].shape
        read, write = self._read(stage.sources[0], True), self._write_sums(stage)
        self._step(
            stage, "direct_sums", ("common", "direct"), [read, write], struct="direct",
            fields=[_linear_window(stage, extents), channels, len(stage.weight), stage.groups],
            tables={"weights": tables.rows(stage.weight).astype(np.int8)},
        )  # fmt: skip
        self._after_sums(stage, write)

    def _write_sums(self, stage: Linear) -> At:
        """Of a kernel that leaves a stage's pool and thresholds to steps of their own."""
        if stage.steps is None:
            return self._write(stage, True)
        return self._new(stage.layers[0], math.prod(stage.window.count) * len(stage.weight), True)

    def _after_sums(self, stage: Linear, write: At) -> None:
        if stage.steps is None or stage.pool is None:
            return
        if stage.pool.kernel != (1, 1) or stage.pool.count != stage.window.count:
            write = self._turned_max(stage, stage.pool, write)
        self._quantize_from(stage, write, math.prod(stage.pool.count), len(stage.weight))

    def _turned_max(self, stage: Linear, pool: Window, read: At) -> At:
        """Pools sums before their thresholds."""
        write = self._new(-stage.result, math.prod(pool.count) * len(stage.weight), True)
        self._last(read.buffer)
        self._step(
            stage, "max_pool", ("common", "max"), [read, write, len(stage.weight)], struct="window",
            fields=_window(pool, stage.window.count),
        )  # fmt: skip
        return write

    def _move(self, stage: Rescale | Join | Border | Repeat | Select) -> None:
        """Integers to integers, channel by channel or place by place."""
        channels, *extents = self.lowered.values[stage.sources[0]].shape
        places, result = math.prod(extents), self.lowered.values[stage.result].shape
        reads = [self._read(source, True) for source in stage.sources]
        write = self._write(stage, True)
        match stage:
            case Rescale():
                arrays = {"multiplier": stage.multiplier, "offset": stage.offset}
                self._step(
                    stage, "requantize", ("requantize",),
                    [*reads, write, places, channels, stage.shift, *arrays], tables=arrays,
                )  # fmt: skip
            case Join():
                first = 0
                for read, source in zip(reads, stage.sources, strict=True):
                    count = self._channels(source)
                    self._last(read.buffer)
                    self._last(write.buffer)
                    self._step(stage, "concat", ("concat",), [read, write, places, count, first, result[0]])
                    first += count
            case Border():
                self._step(stage, "pad", ("pad",), [*reads, write, *extents, channels, *stage.before, *result[1:]])
            case Repeat():
                self._step(stage, "upsample", ("upsample",), [*reads, write, *extents, channels, *stage.factors])
            case Select():
                self._step(
                    stage, "pick_channels", ("channels",), [*reads, write, places, channels, len(stage.order), "order"],
                    tables={"order": stage.order},
                )  # fmt: skip

    def _quantize(self, stage: Quantize) -> None:
        channels, *extents = self.lowered.values[stage.sources[0]].shape
        self._quantize_from(stage, self._read(stage.sources[0], True), math.prod(extents), channels)

    def _quantize_from(self, stage: Linear | Quantize, read: At, places: int, channels: int) -> None:
        assert stage.steps is not None
        ends = np.iinfo(np.int32)
        steps = np.clip(stage.steps.steps, ends.min, ends.max).astype(np.int32)
        self._last(read.buffer)
        scratch, write = self._scratch(steps.shape[1]), self._write(stage, False)
        self._step(
            stage, "quantize", ("states", "quantize"), [read, write, scratch], struct="quantize",
            fields=[places, channels, steps.shape[1]],
            tables={"thresholds": steps, "flips": tables.words(stage.steps.flip)},
        )  # fmt: skip

    def _read(self, number: int, integers: bool) -> At:
        """The value as integers or as states, made from the other form if need be."""
        if (number, integers) not in self.made:
            self._convert(number, integers)
        buffer = self.made[number, integers]
        self._last(buffer)
        return At(buffer, integers)

    def _convert(self, number: int, integers: bool) -> None:
        value = self.lowered.values[number]
        channels, *extents = value.shape
        places, size = math.prod(extents), math.prod(value.shape)
        if number == 0 and (0, True) not in self.made:
            factor, offset = (2, -255) if value.space is None else (1, -value.bound)
            if value.space is not None and value.space.N == 0:
                factor = 2
            write = self._new(0, size, True)
            self._step(None, "read_input", ("read",), ["pixels", write, places, channels, factor, offset])
            if integers:
                return
        read = self._read(number, not integers)
        bits = value.bound.bit_length()
        write = self._new(number, size if integers else state_words(channels, places, value.bound), integers)
        kernel = "unpack" if integers else "pack"
        self._step(None, kernel, (kernel,), [read, write, places, channels, bits])

    def _channels(self, number: int) -> int:
        return self.lowered.values[number].shape[0]

    def _write(self, stage: Stage, integers: bool) -> At:
        value = self.lowered.values[stage.result]
        size = math.prod(value.shape)
        if not integers:
            size = state_words(value.shape[0], math.prod(value.shape[1:]), value.bound)
        return self._new(stage.result, size, integers)

    def _new(self, number: int, words: int, integers: bool) -> At:
        buffer = Buffer(words, len(self.steps), len(self.steps))
        self.buffers.append(buffer)
        self.made[number, integers] = buffer
        return At(buffer, integers)

    def _scratch(self, words: int) -> At:
        buffer = Buffer(words, len(self.steps), len(self.steps))
        self.buffers.append(buffer)
        return At(buffer, False)

    def _last(self, buffer: Buffer) -> None:
        buffer.last = len(self.steps)

    def _step(self, stage: Stage | None, kernel: str, parts: tuple[str, ...], arguments: list, **more) -> None:
        label = "" if stage is None else layer_names(self.lowered, stage)
        for number in (n for entry in more.get("fields", []) for n in (entry if isinstance(entry, list) else [entry])):
            if number > MAX_EXTENT and kernel != "quantize":
                raise GxnorError(f"expected no number beyond {MAX_EXTENT} in its description, got {number}")
        ram = 4 * sum(at.buffer.words for at in arguments if isinstance(at, At) and at.buffer.first == len(self.steps))
        self.steps.append(Step(label, kernel, parts, arguments, stage=stage, ram=ram, **more))


def layer_names(lowered: Lowered, stage: Stage) -> str:
    names = [type(lowered.program.layers[number - 1]).__name__ for number in stage.layers]
    return f"{stage.layers[0]} {' '.join(names)}"


def _linear_window(stage: Linear, extents) -> list[int]:
    """struct window of a Linear."""
    pool = stage.pool or Window((1, 1), (1, 1), (0, 0), (1, 1), stage.window.count)
    window = stage.window
    return [*extents, *window.kernel, *window.stride, *window.padding, *window.dilation, *window.count, *pool.kernel,
            *pool.stride, *pool.padding, *pool.dilation, *pool.count]  # fmt: skip


def _window(window: Window, extents) -> list[int]:
    """struct window of a pool alone."""
    return [*extents, *window.kernel, *window.stride, *window.padding, *window.dilation, *(0, 0), *(0, 0), *(0, 0),
            *(0, 0), *(0, 0), *window.count]  # fmt: skip
