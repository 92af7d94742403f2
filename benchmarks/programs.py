"""Programs with random states for tests: the networks of the paper, small ones of every shape, and any mixture."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from gxnor.errors import GxnorError
from gxnor.program import (
    ALWAYS,
    NEVER,
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    Input,
    Layer,
    MaxPool,
    Pad,
    Program,
    Requantize,
    Scale,
    StateTensor,
    SumPool,
    Threshold,
    Upsample,
    Value,
)
from gxnor.space import DiscreteSpace


class Builder:
    """Appends layers to the value made last (or to value `at`) and keeps track of how far values spread, so that
    random thresholds meet them."""

    def __init__(self, shape: tuple[int, ...], N: int | None = None, seed: int = 0):
        self.random = np.random.default_rng(seed)
        self.input = Input(shape, None if N is None else DiscreteSpace(N))
        self.layers: list[Layer] = []
        self.values: list[Value] = [self.input.value()]
        self.spread = [147.0 if N is None else float(DiscreteSpace(N).levels.std())]

    @property
    def last(self) -> int:
        return len(self.layers)

    def add(self, layer: Layer, spread: float) -> int:
        """Raises GxnorError where the layer does not fit; nothing is added then."""
        self.values.append(layer.infer(*(self.values[i] for i in layer.inputs)))
        self.layers.append(layer)
        self.spread.append(spread)
        return self.last

    def weight(self, N: int, *shape: int) -> StateTensor:
        space = DiscreteSpace(N)
        return StateTensor.from_indices(space, space.random(shape, self.random))

    def conv(self, out, kernel, N=1, stride=1, padding=0, dilation=1, groups=1, at=None) -> int:
        at = self.last if at is None else at
        channels, *extents = self.values[at].shape
        kernel, stride, padding, dilation = (tuple_of(v, len(extents)) for v in (kernel, stride, padding, dilation))
        weight = self.weight(N, out, channels // groups, *kernel)
        spread = self.spread[at] * weight.space.levels.std() * (weight.size // out) ** 0.5
        return self.add(Conv((at,), weight, stride, padding, dilation, groups), spread)

    def dense(self, out, N=1, at=None) -> int:
        at = self.last if at is None else at
        weight = self.weight(N, out, *self.values[at].shape)
        spread = self.spread[at] * weight.space.levels.std() * self.values[at].shape[0] ** 0.5
        return self.add(Dense((at,), weight), spread)

    def threshold(self, N=1, at=None) -> int:
        """Random signs and steps; in a channel in eight some steps are constant."""
        at = self.last if at is None else at
        space, channels = DiscreteSpace(N), self.values[at].shape[0]
        steps = np.rint(self.random.normal(0, self.spread[at], (channels, space.size - 1)))
        rare = self.random.random(steps.shape) < 1 / 4
        rare &= self.random.random((channels, 1)) < 1 / 8
        steps = np.where(rare, self.random.choice([ALWAYS, NEVER], steps.shape), steps)
        sign = self.random.choice(np.array([-1, 1], dtype=np.int8), channels)
        steps = np.sort(steps, axis=1).clip(ALWAYS, NEVER).astype(np.int32)
        return self.add(Threshold((at,), space, steps, sign), float(space.levels.std()))

    def max_pool(self, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, at=None) -> int:
        at = self.last if at is None else at
        dims = len(self.values[at].shape) - 1
        stride = kernel if stride is None else stride
        sizes = (tuple_of(v, dims) for v in (kernel, stride, padding, dilation))
        return self.add(MaxPool((at,), *sizes, ceil_mode), self.spread[at])

    def sum_pool(self, kernel, stride=None, padding=0, at=None) -> int:
        at = self.last if at is None else at
        dims = len(self.values[at].shape) - 1
        kernel, stride, padding = (tuple_of(v, dims) for v in (kernel, kernel if stride is None else stride, padding))
        return self.add(SumPool((at,), kernel, stride, padding), self.spread[at] * np.prod(kernel) ** 0.5)

    def plus(self, a: int, b: int, factors=(1, 1)) -> int:
        return self.add(Add((a, b), factors), float(np.hypot(factors[0] * self.spread[a], factors[1] * self.spread[b])))

    def requantize(self, to: float = 100.0, at=None) -> int:
        """A scale and an offset of its own for every channel, some negative, for values of about `to`."""
        at = self.last if at is None else at
        channels, shift = self.values[at].shape[0], int(self.random.integers(8, 21))
        factor = self.random.normal(0, to / (self.spread[at] + 1), channels)
        offset = self.random.normal(0, to, channels) * 2.0**shift + 2 ** (shift - 1)
        multiplier = np.rint(factor * 2.0**shift).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
        return self.add(Requantize((at,), shift, multiplier, offset.astype(np.int64)), to)

    def concat(self, *inputs: int) -> int:
        return self.add(Concat(inputs), max(self.spread[i] for i in inputs))

    def pad(self, before, after) -> int:
        dims = len(self.values[-1].shape) - 1
        return self.add(Pad((self.last,), tuple_of(before, dims), tuple_of(after, dims)), self.spread[-1])

    def upsample(self, factors) -> int:
        return self.add(Upsample((self.last,), tuple_of(factors, len(self.values[-1].shape) - 1)), self.spread[-1])

    def channels(self, order) -> int:
        return self.add(Channels((self.last,), np.asarray(order, dtype=np.int32)), self.spread[-1])

    def flatten(self) -> int:
        return self.add(Flatten((self.last,)), self.spread[-1])

    def program(self, *heads: int) -> Program:
        """Ends in a Scale with one class per feature; or in one for each of these values, named "head 1" and so on."""
        names = []
        for value in heads or (self.last,):
            classes, spread = self.values[value].shape[0], self.spread[value]
            scale = self.random.uniform(0.5, 2, classes).astype(np.float32) / np.float32(spread + 1)
            bias = self.random.normal(0, 1, classes).astype(np.float32)
            self.add(Scale((value,), scale, bias), 1.0)
            names += [str(i) for i in range(classes)]
        outputs = tuple(f"head {i}" for i in range(1, len(heads) + 1))
        return Program(self.input, tuple(self.layers), tuple(names), output_names=outputs)


def tuple_of(value, dims: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * dims


def mnist(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """32C5-MP2-64C5-MP2-512FC-10 on 1x28x28, valid padding: 581,408 weights."""
    net = Builder((1, 28, 28), seed=seed)
    for channels in (32, 64):
        net.conv(channels, 5, N1)
        net.max_pool(2)
        net.threshold(N2)
    net.flatten()
    net.dense(512, N1)
    net.threshold(N2)
    net.dense(10, N1)
    return net.program()


def cifar(N1: int = 1, N2: int = 1, width: int = 128, seed: int = 0) -> Program:
    """2x128C3-MP2-2x256C3-MP2-2x512C3-MP2-1024FC-10 on 3x32x32, same padding: 12,973,440 weights at width 128."""
    net = Builder((3, 32, 32), seed=seed)
    for channels in (width, 2 * width, 4 * width):
        net.conv(channels, 3, N1, padding=1)
        net.threshold(N2)
        net.conv(channels, 3, N1, padding=1)
        net.max_pool(2)
        net.threshold(N2)
    net.flatten()
    net.dense(8 * width, N1)
    net.threshold(N2)
    net.dense(10, N1)
    return net.program()


def residual(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Two residual blocks, the second strided with a 1x1 shortcut, and a global average pool, on 3x12x12."""
    net = Builder((3, 12, 12), seed=seed)
    net.conv(16, 3, N1, padding=1)
    start = net.threshold(N2)
    net.conv(16, 3, N1, padding=1)
    net.threshold(N2)
    net.conv(16, 3, N1, padding=1)
    net.plus(net.last, start, (1, 3))
    start = net.threshold(N2)
    net.conv(32, 3, N1, stride=2, padding=1)
    net.threshold(N2)
    body = net.conv(32, 3, N1, padding=1)
    net.plus(body, net.conv(32, 1, N1, stride=2, at=start), (1, -2))
    net.threshold(N2)
    net.sum_pool(6)
    net.flatten()
    net.dense(10, N1)
    return net.program()


def one_d(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """1-d convolutions, strided, grouped and dilated, on 2x64."""
    net = Builder((2, 64), seed=seed)
    net.conv(12, 5, N1, stride=2, padding=2)
    net.threshold(N2)
    net.conv(12, 3, N1, padding=2, dilation=2, groups=3)
    net.max_pool(3, 2, padding=1)
    net.threshold(N2)
    net.flatten()
    net.dense(4, N1)
    return net.program()


def u_net(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Scores for every place, by way of every layer that moves values."""
    net = Builder((2, 8, 6), seed=seed)
    net.conv(6, 3, N1, padding=1)
    skip = net.threshold(N2)
    net.max_pool(2)
    net.conv(8, 3, N1, padding=1)
    net.threshold(N2)
    net.upsample(2)
    net.concat(net.last, skip)
    net.channels(np.arange(14)[::-1])
    net.pad((1, 0), (0, 1))
    net.conv(8, 2, N1)
    net.requantize()
    net.threshold(N2)
    net.conv(3, 1, N1)
    return net.program()


def two_heads(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Scores of the sample, scores for every place, and states themselves, from one trunk."""
    net = Builder((2, 6, 7), seed=seed)
    net.conv(9, 3, N1, padding=1)
    trunk = net.threshold(N2)
    places = net.conv(3, 1, N1, at=trunk)
    net.max_pool(2, at=trunk)
    net.flatten()
    return net.program(net.dense(5, N1), places, trunk)


def _block(net: Builder, outputs: int, N1: int, N2: int, stride: int = 1) -> None:
    """Two 3x3 convolutions beside a shortcut, batch norm before the addition: He et al., arXiv 1512.03385, figure 2. A
    shortcut that changes the shape is a 1x1 convolution."""
    start, inputs = net.last, net.values[-1].shape[0]
    net.conv(outputs, 3, N1, stride, padding=1)
    net.threshold(N2)
    net.conv(outputs, 3, N1, padding=1)
    body = net.requantize(1e6)
    if stride == 1 and inputs == outputs:
        net.plus(body, start, (1, 2**20))
    else:
        net.conv(outputs, 1, N1, stride, at=start)
        net.plus(body, net.requantize(1e6))
    net.threshold(N2)


def _averaged(net: Builder, classes: int, N1: int) -> Program:
    """The average of all places, and a dense layer."""
    net.sum_pool(net.values[-1].shape[1:])
    net.flatten()
    net.dense(classes, N1)
    return net.program()


def resnet(n: int = 3, width: int = 16, size: int = 32, N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """ResNet of 6 n + 2 layers, section 4.2 of the paper, on 3 x size x size; the first convolution is discrete as well."""
    net = Builder((3, size, size), seed=seed)
    net.conv(width, 3, N1, padding=1)
    net.threshold(N2)
    for stage in range(3):
        for i in range(n):
            _block(net, width << stage, N1, N2, 2 if stage and i == 0 else 1)
    return _averaged(net, 10, N1)


def resnet18(width: int = 64, size: int = 224, N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Table 1 of the paper: a stem of 7x7 and a max-pool, four stages of two blocks, 1,000 classes."""
    net = Builder((3, size, size), seed=seed)
    net.conv(width, 7, N1, 2, padding=3)
    net.threshold(N2)
    net.max_pool(3, 2, padding=1)
    for stage in range(4):
        _block(net, width << stage, N1, N2, 2 if stage else 1)
        _block(net, width << stage, N1, N2)
    return _averaged(net, 1000, N1)


def mobilenet_v1(width: int = 32, size: int = 224, N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Howard et al., arXiv 1704.04861, table 1: depthwise and pointwise convolutions, 1,000 classes. width 32 is their
    multiplier of 1."""
    net = Builder((3, size, size), seed=seed)
    net.conv(width, 3, N1, 2, padding=1)
    net.threshold(N2)
    for times, stride in ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1)):
        channels = net.values[-1].shape[0]
        net.conv(channels, 3, N1, stride, padding=1, groups=channels)
        net.threshold(N2)
        net.conv(times * width, 1, N1)
        net.threshold(N2)
    return _averaged(net, 1000, N1)


def keywords(width: int = 64, N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Spoken words: convolutions over 98 frames of 40 features, 12 classes."""
    net = Builder((40, 98), seed=seed)
    for times in (1, 2, 2, 4):
        net.conv(times * width, 3, N1, padding=1)
        net.max_pool(2)
        net.threshold(N2)
    return _averaged(net, 12, N1)


def random_program(seed: int, every: bool = False) -> Program:
    """Any mixture of layers that fits: 1-d or 2-d, every space, padding, dilation, groups, reuse of earlier values. With
    `every` of all kinds, else of those that the paper's networks and sums of branches take."""
    random = np.random.default_rng(seed)

    def pick(*choices):
        return choices[random.integers(len(choices))]

    dims = pick(1, 2)
    channels = pick(1, 2, 3, 4, 6)
    net = Builder((channels, *random.integers(1, 14, dims).tolist()), pick(None, 0, 1, 2, 3, 4), seed)
    want, tries = pick(2, 3, 4, 6, 8), 0
    while net.last < want and tries < 200:
        tries += 1
        kernel = tuple(random.integers(1, 5, dims).tolist())
        stride = tuple(random.integers(1, 4, dims).tolist())
        padding = tuple(random.integers(0, 3, dims).tolist())
        dilation = tuple(random.integers(1, 3, dims).tolist())
        try:
            kinds = ("conv", "conv", "threshold", "threshold", "max_pool", "sum_pool", "plus")
            match pick(*kinds, *(("requantize", "concat", "pad", "upsample", "channels") if every else ())):
                case "conv":
                    groups = pick(1, 1, net.values[-1].shape[0], 2)
                    net.conv(groups * pick(1, 2, 3, 8), kernel, pick(0, 1, 2, 3, 4), stride, padding, dilation, groups)
                case "threshold":
                    net.threshold(pick(0, 1, 2, 3, 4))
                case "max_pool":
                    net.max_pool(kernel, stride, padding, dilation, pick(False, True))
                case "sum_pool":
                    net.sum_pool(kernel, stride, padding)
                case "plus":
                    net.plus(net.last, pick(*range(net.last + 1)), (pick(-2, 1, 3), pick(-1, 1, 5)))
                case "requantize":
                    net.requantize(pick(1, 100, 10_000))
                case "concat":
                    net.concat(*(pick(*range(net.last + 1)) for _ in range(pick(1, 2))), net.last)
                case "pad":
                    net.pad(padding, tuple(random.integers(0, 3, dims).tolist()))
                case "upsample":
                    net.upsample(tuple(random.integers(1, 3, dims).tolist()))
                case "channels":
                    net.channels(random.integers(net.values[-1].shape[0], size=pick(1, 2, 5, 17)))
            if net.values[-1].bound >= 2**16:
                net.threshold(pick(0, 1, 2))
        except GxnorError:
            continue  # this layer does not fit here
    if every and pick(False, False, False, True):  # scores for every place
        if net.values[-1].bound >= 2**20:
            net.threshold(pick(0, 1, 2))
        return net.program()
    net.flatten()
    if net.values[-1].bound * net.values[-1].shape[0] >= 2**27:
        net.threshold(pick(0, 1, 2))
    if pick(False, True):
        net.dense(pick(1, 2, 5, 64), pick(0, 1, 2, 3, 4))
        net.threshold(pick(0, 1, 2))
    net.dense(pick(1, 2, 10), pick(0, 1, 2, 3, 4))
    return net.program()


# The signs of the rows of the transforms of F(2, 3) and F(4, 3): of windows, and of weights.
_WINOGRAD_SIGNS = (
    ([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], [[1, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 1]]),
    ([[1, 0, -1, 0, 1, 0], [0, -1, -1, 1, 1, 0], [0, 1, -1, -1, 1, 0], [0, -1, -1, 1, 1, 0], [0, 1, -1, -1, 1, 0],
      [0, 1, 0, -1, 0, 1]], [[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 1, 1], [1, -1, 1], [0, 0, 1]]),
)  # fmt: skip


def largest_points(channels: int, N1: int = 1, N2: int = 1) -> Iterator[tuple[Program, np.ndarray]]:
    """3x3 convolutions, weights in Z_N1 and inputs in Z_N2, N >= 1, for which a point of Winograd's F(2x2, 3x3) or
    F(4x4, 3x3) is largest, point by point: windows and weights with the signs of a row of each transform, or against
    them, in all channels."""
    weights, levels = DiscreteSpace(N1), DiscreteSpace(N2)
    for B, G in _WINOGRAD_SIGNS:
        for i, j in product(range(len(B)), repeat=2):
            x, w = (np.outer(rows[i], rows[j]).astype(np.int8) for rows in (B, G))
            ends = (np.stack([w, -w])[:, None] + 1) * (weights.size // 2)
            weight = np.broadcast_to(ends, (2, channels, 3, 3)).astype(np.uint8)
            net = Builder((channels, *x.shape), N2)
            net.add(Conv((0,), StateTensor.from_indices(weights, weight), (1, 1), (0, 0), (1, 1), 1), 1.0)
            net.flatten()
            yield net.program(), np.broadcast_to((x + 1) * (levels.size // 2), (1, channels, *x.shape)).astype(np.uint8)


def batch(program: Program, size: int, seed: int = 0) -> np.ndarray:
    """uint8 (size, *shape) of random pixels or state indices."""
    top = 256 if program.input.space is None else program.input.space.size
    return np.random.default_rng(seed).integers(top, size=(size, *program.input.shape), dtype=np.uint8)
