"""Parts of values: channels in some order, places in steps, a single place, fewer places."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter.builder import Builder
from gxnor.exporter.shapes import flatten, pick
from gxnor.exporter.tensors import UNKNOWN, Tensor, Unknown, known, tensor
from gxnor.program.ops import Conv, MaxPool, Pad

WHOLE = slice(None)


def shuffle(build: Builder, x, groups) -> Tensor:
    groups = groups.groups if isinstance(groups, nn.ChannelShuffle) else groups
    return pick(build, x, torch.arange(tensor(x).shape[0]).view(groups, -1).t().flatten())


def chunk(build: Builder, x, chunks, dim=0) -> tuple[Tensor, ...]:
    _channel_axis(x, dim)
    return tuple(pick(build, x, part) for part in torch.arange(x.shape[0]).chunk(chunks))


def split(build: Builder, x, sizes, dim=0) -> tuple[Tensor, ...]:
    _channel_axis(x, dim)
    return tuple(pick(build, x, part) for part in torch.arange(x.shape[0]).split(sizes))


def item(build: Builder, x, index):
    """x[:, channels, places]: channels in steps, places in steps from the first, a single place, or fewer places where a
    convolution made them."""
    if not isinstance(x, Tensor):
        if x is UNKNOWN:
            raise Unknown
        return x[index]
    batch, channels, *places = _full(index, len(x.shape) + 1)
    if build.ends and x.shape == (1,) and channels == 0 and batch == WHOLE:
        return replace(known(x), last=("[:, 0]", lambda y: y[:, 0]))
    picked = torch.arange(x.shape[0])[channels]
    single = bool(places) and all(type(place) is int for place in places)
    if (
        batch != WHOLE
        or not picked.dim()
        or not picked.numel()
        or not (single or all(type(p) is slice for p in places))
    ):
        raise GxnorError(
            f"expected x[:, channels, places], with slices or for all axes of places numbers, got x[{index}]"
        )
    if channels != WHOLE:
        x = pick(build, x, picked)
    if single:
        place = np.ravel_multi_index(tuple(p % n for p, n in zip(places, x.shape[1:], strict=True)), x.shape[1:])
        order = torch.arange(x.shape[0]) * math.prod(x.shape[1:]) + int(place)
        return pick(build, build.settled(flatten(build, x, 1)), order)
    ranges = [range(n)[place] for n, place in zip(x.shape[1:], places, strict=True)]
    if any(taken.step < 1 or not len(taken) for taken in ranges):
        raise GxnorError(f"expected places in rising order, one or more, got x[{index}]")
    if all(len(taken) == n for n, taken in zip(x.shape[1:], ranges, strict=True)):
        return x
    steps = tuple(taken.step for taken in ranges)
    if all(taken == range(0, n, step) for n, taken, step in zip(x.shape[1:], ranges, steps, strict=True)):
        ones = (1,) * len(steps)
        return build.move(x, MaxPool((0,), ones, steps, (0,) * len(steps), ones, False))
    return _cropped(build, x, ranges)


def _full(index, rank: int) -> list:
    """An entry for every axis."""
    index = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index[at : at + 1] = [WHOLE] * (rank - len(index) + 1)
    if len(index) > rank:
        raise GxnorError(f"expected at most {rank} indices, got {len(index)}")
    return index + [WHOLE] * (rank - len(index))


def _cropped(build: Builder, x: Tensor, ranges: list[range]) -> Tensor:
    """The convolution that made x once more, with fewer zeros around, for these places alone."""
    conv = build.layers[x.number - 1] if x.number and not x.later else None
    if not isinstance(conv, Conv):
        raise GxnorError(
            "expected to cut off places of a convolution alone, right after it, got those of something else"
        )
    extents, kernel = build.values[conv.inputs[0]].shape[1:], conv.weight.shape[2:]
    stride = tuple(s * taken.step for s, taken in zip(conv.stride, ranges, strict=True))
    before = [p - s * taken.start for p, s, taken in zip(conv.padding, conv.stride, ranges, strict=True)]
    after = [
        (len(taken) - 1) * s + d * (k - 1) + 1 - n - b
        for taken, s, d, k, n, b in zip(ranges, stride, conv.dilation, kernel, extents, before, strict=True)
    ]
    if min(before) < 0 or any(n <= -s for n, s in zip(after, stride, strict=True)):
        raise GxnorError("expected to cut off places that a convolution made of the zeros around, got further ones")
    padded = build.emit(Pad(conv.inputs, tuple(before), tuple(max(n, 0) for n in after)), x.unit)
    y = build.emit(replace(conv, inputs=(padded.number,), padding=(0,) * len(stride), stride=stride), x.unit)
    return replace(y, norms=x.norms, rounding=x.rounding)


def _channel_axis(x, dim: int) -> None:
    if dim % (len(tensor(x).shape) + 1) != 1:
        raise GxnorError(f"expected to split channels, dim=1, got dim={dim}")
