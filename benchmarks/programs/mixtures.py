"""Random mixtures of layers, and the extreme points of Winograd's transforms."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from benchmarks.programs.building import Builder
from gxnor.errors import GxnorError
from gxnor.program import Conv, Program, StateTensor
from gxnor.space import DiscreteSpace


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
