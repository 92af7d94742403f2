"""Which kernel runs a stage, with which tables, and where its values lie."""

from __future__ import annotations

import math

import numpy as np

from gxnor.errors import GxnorError
from gxnor.targets.c import tables
from gxnor.targets.c.calls import At, Calls, Plan
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

MAX_PAIRED = 2**14 - 1  # of a sum over pixels: two share a word, and so do their distances to thresholds


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
    return planner.calls.plan()


def has_planes(lowered: Lowered, stage: Stage) -> bool:
    """Whether bit planes can sum a stage: weights and inputs of -1, 0 and 1 at most."""
    if not isinstance(stage, Linear) or stage.groups != 1:
        return False
    source = lowered.values[stage.sources[0]]
    return source.space is not None and source.bound == 1 and bool(np.abs(stage.weight).max() <= 1)


class _Planner:
    def __init__(self, lowered: Lowered, rests: dict[int, np.ndarray], planes: frozenset[int]):
        self.lowered, self.rests, self.planes = lowered, rests, planes
        self.calls = Calls(lowered)

    def add(self, stage: Stage) -> None:
        match stage:
            case Linear():
                self._linear(stage)
            case Quantize():
                self._quantize(stage)
            case Max() | Sum():
                channels, *extents = self.lowered.values[stage.sources[0]].shape
                kernel = "max" if isinstance(stage, Max) else "sum"
                read = self.calls.read(stage.sources[0], True)
                self.calls.add(
                    stage, f"{kernel}_pool", ("common", kernel), [read, self.calls.write(stage, True), channels],
                    struct="window", fields=_window(stage.window, extents),
                )  # fmt: skip
            case Plus():
                count = math.prod(self.lowered.values[stage.result].shape)
                reads = [self.calls.read(source, True) for source in stage.sources]
                self.calls.add(stage, "add", ("add",), [*reads, self.calls.write(stage, True), count, *stage.factors])
            case Reorder():
                channels, *extents = self.lowered.values[stage.sources[0]].shape
                read = self.calls.read(stage.sources[0], True)
                self.calls.add(
                    stage, "reorder", ("reorder",), [read, self.calls.write(stage, True), math.prod(extents), channels]
                )
            case Rescale() | Join() | Border() | Repeat() | Select():
                self._move(stage)
            case Logits():
                read = self.calls.read(stage.sources[0], True)
                scale = {"scale": stage.scale, "bias": stage.bias}
                self.calls.add(
                    stage, "scale_sums", ("logits",), [read, "logits", len(stage.scale), *scale], tables=scale
                )
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
        scratch = self.calls.scratch(16 + groups * count + 2 * stage.weight[0].size)
        self.calls.add(
            stage, "pixels_to_states", ("common", "states", "pixels"), ["pixels", self.calls.write(stage, False), scratch],
            struct="pixels", tables=constants,
            fields=[_linear_window(stage, extents), channels, groups, count, out, factor, border],
        )  # fmt: skip

    def _events(self, stage: Linear) -> None:
        source = self.lowered.values[stage.sources[0]]
        channels, *extents = source.shape
        read = self.calls.read(stage.sources[0], False)
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
        scratch = self.calls.scratch(groups * (planes + count))
        write, kernel = self.calls.write(stage, stage.steps is None), "sums" if stage.steps is None else "states"
        needs: tuple[str, ...] = ("common", "lowest", "events", "events_sums")
        if stage.steps is not None:
            needs = ("common", "states", "lowest", "events", "events_states")
        self.calls.add(
            stage, f"events_to_{kernel}", needs, [read, write, scratch], struct="events", tables=arrays,
            fields=[_linear_window(stage, extents), channels, -(-channels // tables.LANES), in_bits, bits, groups,
                    weight_bits, planes, count, out],
            rows=stage.weight[0].size, rest=rest,
        )  # fmt: skip

    def _planes(self, stage: Linear) -> None:
        channels, *extents = self.lowered.values[stage.sources[0]].shape
        read, write = self.calls.read(stage.sources[0], False), self._write_sums(stage)
        self.calls.add(
            stage, "planes_to_sums", ("common", "planes"), [read, write], struct="planes",
            fields=[_linear_window(stage, extents), -(-channels // tables.LANES), len(stage.weight)],
            tables={"weights": tables.plane_weights(stage.weight)},
        )  # fmt: skip
        self._after_sums(stage, write)

    def _direct(self, stage: Linear) -> None:
        channels, *extents = self.lowered.values[stage.sources[0]].shape
        read, write = self.calls.read(stage.sources[0], True), self._write_sums(stage)
        self.calls.add(
            stage, "direct_sums", ("common", "direct"), [read, write], struct="direct",
            fields=[_linear_window(stage, extents), channels, len(stage.weight), stage.groups],
            tables={"weights": tables.rows(stage.weight).astype(np.int8)},
        )  # fmt: skip
        self._after_sums(stage, write)

    def _write_sums(self, stage: Linear) -> At:
        """Of a kernel that leaves a stage's pool and thresholds to steps of their own."""
        if stage.steps is None:
            return self.calls.write(stage, True)
        return self.calls.new(stage.layers[0], math.prod(stage.window.count) * len(stage.weight), True)

    def _after_sums(self, stage: Linear, write: At) -> None:
        if stage.steps is None or stage.pool is None:
            return
        if stage.pool.kernel != (1, 1) or stage.pool.count != stage.window.count:
            write = self._turned_max(stage, stage.pool, write)
        self._quantize_from(stage, write, math.prod(stage.pool.count), len(stage.weight))

    def _turned_max(self, stage: Linear, pool: Window, read: At) -> At:
        """Pools sums before their thresholds."""
        write = self.calls.new(-stage.result, math.prod(pool.count) * len(stage.weight), True)
        self.calls.keep(read.buffer)
        self.calls.add(
            stage, "max_pool", ("common", "max"), [read, write, len(stage.weight)], struct="window",
            fields=_window(pool, stage.window.count),
        )  # fmt: skip
        return write

    def _move(self, stage: Rescale | Join | Border | Repeat | Select) -> None:
        """Integers to integers, channel by channel or place by place."""
        channels, *extents = self.lowered.values[stage.sources[0]].shape
        places, result = math.prod(extents), self.lowered.values[stage.result].shape
        reads = [self.calls.read(source, True) for source in stage.sources]
        write = self.calls.write(stage, True)
        match stage:
            case Rescale():
                arrays = {"multiplier": stage.multiplier, "offset": stage.offset}
                self.calls.add(
                    stage, "requantize", ("requantize",),
                    [*reads, write, places, channels, stage.shift, *arrays], tables=arrays,
                )  # fmt: skip
            case Join():
                first = 0
                for read, source in zip(reads, stage.sources, strict=True):
                    count = self.lowered.values[source].shape[0]
                    self.calls.keep(read.buffer)
                    self.calls.keep(write.buffer)
                    self.calls.add(stage, "concat", ("concat",), [read, write, places, count, first, result[0]])
                    first += count
            case Border():
                self.calls.add(stage, "pad", ("pad",), [*reads, write, *extents, channels, *stage.before, *result[1:]])
            case Repeat():
                self.calls.add(stage, "upsample", ("upsample",), [*reads, write, *extents, channels, *stage.factors])
            case Select():
                self.calls.add(
                    stage, "pick_channels", ("channels",), [*reads, write, places, channels, len(stage.order), "order"],
                    tables={"order": stage.order},
                )  # fmt: skip

    def _quantize(self, stage: Quantize) -> None:
        channels, *extents = self.lowered.values[stage.sources[0]].shape
        self._quantize_from(stage, self.calls.read(stage.sources[0], True), math.prod(extents), channels)

    def _quantize_from(self, stage: Linear | Quantize, read: At, places: int, channels: int) -> None:
        assert stage.steps is not None
        ends = np.iinfo(np.int32)
        steps = np.clip(stage.steps.steps, ends.min, ends.max).astype(np.int32)
        self.calls.keep(read.buffer)
        scratch, write = self.calls.scratch(steps.shape[1]), self.calls.write(stage, False)
        self.calls.add(
            stage, "quantize", ("states", "quantize"), [read, write, scratch], struct="quantize",
            fields=[places, channels, steps.shape[1]],
            tables={"thresholds": steps, "flips": tables.words(stage.steps.flip)},
        )  # fmt: skip


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
