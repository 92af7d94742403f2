"""What the circuit of a program holds: the memories of its layers and the sizes of its registers. NumPy only.

Every layer is a table of taps: an event in input row y meets kernel rows that form an arithmetic progression, whose output
rows form one too, whatever stride, dilation and padding are; the same along columns. With g = gcd(stride, dilation), the
kernel index grows by stride / g and the output falls by dilation / g from one tap to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from gxnor.errors import GxnorError
from gxnor.targets.lowering import Linear, Logits, Lowered, Window, on_pixels


@dataclass(frozen=True, eq=False)
class Layer:
    """A Linear stage as the circuit runs it. weight: int8 (in, kernel height, kernel width, channels), in -1, 0, 1.
    bound: the largest |value| of its input. low, high: int64 (channels,), the smallest and the largest sum that weights
    and inputs allow. steps: int64 (channels, steps), within low..high + 1; none for the last layer. flip: bool
    (channels,). places: (last, spare, row, column, position) of every output place, those of a pooling window one after
    the other."""

    numbers: tuple[int, ...]
    shape: tuple[int, int, int]  # of the input
    outputs: int
    positions: int
    weight: np.ndarray
    window: Window
    bound: int
    low: np.ndarray
    high: np.ndarray
    steps: np.ndarray | None
    flip: np.ndarray | None
    binary: bool
    places: list[tuple[int, int, int, int, int]]

    def blocks(self, lanes: int) -> int:
        return -(-self.outputs // lanes)


@dataclass(frozen=True, eq=False)
class Plan:
    """All layers; (height, width) of the padding of pixels, which is part of the first layer's shape; and what turns the
    last layer's sums x into logits: float32(factor x + constant[c]) * scale + bias."""

    layers: list[Layer]
    border: tuple[int, int]
    factor: int
    constant: np.ndarray
    logits: Logits


def make(lowered: Lowered) -> Plan:
    """Raises GxnorError, naming the layer, for a program that is not a plain stack on pixels."""
    *stages, last = lowered.stages
    assert isinstance(last, Logits)  # every program ends in a Scale
    if lowered.values[0].space is not None:
        raise GxnorError("the circuit takes pixels: expected a network whose input is pixels, got one of states")
    source = 0
    for stage in lowered.stages:
        where = f"layer {stage.layers[0]} ({type(lowered.program.layers[stage.layers[0] - 1]).__name__})"
        if stage.sources != (source,):
            raise GxnorError(
                f"{where} reads an earlier value: the circuit runs plain stacks, without residual additions"
            )
        if not isinstance(stage, Linear) and stage is not last:
            raise GxnorError(
                f"{where} stands alone: the circuit runs convolutions, dense layers, max-pools and thresholds"
            )
        if isinstance(stage, Linear) and np.abs(stage.weight).max() > 1:
            raise GxnorError(f"{where} has weights of more than three states, for which the lanes have no operand")
        if isinstance(stage, Linear) and stage.steps is None and stage is not stages[-1]:
            raise GxnorError(
                f"{where} has no threshold right after it: the circuit runs plain stacks, without residual additions"
            )
        source = stage.result
    linear = [stage for stage in stages if isinstance(stage, Linear)]  # all of them, by now
    first = linear[0]
    layers = [_layer(stage, lowered, first=stage is first) for stage in linear]
    raw = linear[-1] is first
    size = first.weight.astype(np.int64).reshape(len(first.weight), -1).sum(axis=1)
    constant = -255 * size if raw else np.zeros(layers[-1].outputs, np.int64)
    return Plan(layers, first.window.padding, 2 // on_pixels(first)[0] if raw else 1, constant, last)


def _layer(stage: Linear, lowered: Lowered, first: bool) -> Layer:
    value = lowered.values[stage.sources[0]]
    channels, outputs = value.shape[0], len(stage.weight)
    weight = np.zeros((outputs, channels, *stage.weight.shape[2:]), np.int8)
    share, per_group = channels // stage.groups, outputs // stage.groups
    for group in range(stage.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        weight[rows, group * share : (group + 1) * share] = stage.weight[rows]
    window, shape = stage.window, value.shape
    if first:  # pixels p, or 2p among a border of 255 (see on_pixels): the circuit makes the events of the border
        factor, _, given = on_pixels(stage)
        bound, smallest = 255 * factor, 0
        up, down = window.padding
        shape = (channels, shape[1] + 2 * up, shape[2] + 2 * down)
        window = replace(window, padding=(0, 0))
    else:
        bound, smallest = value.bound, -value.bound
        given = stage.steps.steps if stage.steps is not None else None
    flat = weight.astype(np.int64).reshape(outputs, -1)
    rises, falls = (flat > 0).sum(axis=1), (flat < 0).sum(axis=1)
    low, high = smallest * rises - bound * falls, bound * rises - smallest * falls
    steps = flip = None
    binary = False
    if stage.steps is not None:
        assert given is not None
        steps = np.clip(given, low[:, None], high[:, None] + 1)
        flip, binary = stage.steps.flip, stage.steps.space.N == 0
    return Layer(
        stage.layers, shape, outputs, math.prod(window.count), weight.transpose(1, 2, 3, 0), window, bound, low, high,
        steps, flip, binary, _places(stage),
    )  # fmt: skip


def _places(stage: Linear) -> list[tuple[int, int, int, int, int]]:
    height, width = stage.window.count
    pool = stage.pool or Window((1, 1), (1, 1), (0, 0), (1, 1), stage.window.count)
    left = set(range(height * width))
    places = []
    for row in range(pool.count[0]):
        for column in range(pool.count[1]):
            inside = [
                y * width + x
                for i in range(pool.kernel[0])
                for j in range(pool.kernel[1])
                if 0 <= (y := row * pool.stride[0] + i * pool.dilation[0] - pool.padding[0]) < height
                and 0 <= (x := column * pool.stride[1] + j * pool.dilation[1] - pool.padding[1]) < width
            ]
            left -= set(inside)
            places += [(int(at == inside[-1]), 0, row, column, at) for at in inside]
    return places + [(1, 1, 0, 0, at) for at in sorted(left)]  # no window covers them: cleared, not read


def taps(extent: int, window: Window, axis: int) -> list[tuple[int, int, int]]:
    """(count, first kernel index, its output) for every input index along an axis."""
    kernel, stride, padding, dilation, count = (
        getattr(window, name)[axis] for name in ("kernel", "stride", "padding", "dilation", "count")
    )
    found = []
    for place in range(extent):
        hits = [
            (k, (place + padding - k * dilation) // stride)
            for k in range(kernel)
            if (place + padding - k * dilation) % stride == 0 and 0 <= place + padding - k * dilation < count * stride
        ]
        found.append((len(hits), *(hits[0] if hits else (0, 0))))
    return found


def strides(window: Window, axis: int) -> tuple[int, int]:
    """How kernel index and output change from one tap to the next."""
    divisor = math.gcd(window.stride[axis], window.dilation[axis])
    return window.stride[axis] // divisor, -window.dilation[axis] // divisor
