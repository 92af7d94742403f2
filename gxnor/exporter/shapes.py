"""What moves, copies and picks values: flattening, padding, nearest neighbours, channels in some order, sizes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter.builder import Builder, integers
from gxnor.exporter.tensors import UNKNOWN, Grouped, Tensor, Unknown, known, tensor
from gxnor.program.ops import Add, Channels, Concat, Flatten, Pad, Upsample


def flatten(build: Builder, x, start_dim=0, end_dim=-1) -> Tensor:
    if isinstance(start_dim, nn.Flatten):
        start_dim, end_dim = start_dim.start_dim, start_dim.end_dim
    last = len(tensor(x).shape)
    if start_dim % (last + 1) == 2 and end_dim % (last + 1) == last:
        return _flat_places(build, x)
    if start_dim % (last + 1) != 1 or end_dim % (last + 1) != last:
        raise GxnorError(f"expected to flatten all dimensions but the batch, got {start_dim} to {end_dim}")
    return x if last == 1 else build.move(x, Flatten((0,)))


def _flat_places(build: Builder, x: Tensor) -> Tensor:
    """(batch, channels, places): only to be pooled over all of them, or flattened further."""
    return replace(build.settled(x), shape=(x.shape[0], math.prod(x.shape[1:])))


def squeeze(build: Builder, x, dim=None) -> Tensor:
    """Takes away extents of 1."""
    axes = range(1, len(tensor(x).shape) + 1) if dim is None else [n % (len(x.shape) + 1) for n in tuple_of(dim, 1)]
    if build.ends and 0 not in axes and x.shape == (1,):
        return replace(known(x), last=("squeeze", lambda y: y.squeeze(1)))
    if 0 in axes or (1 in axes and x.shape[0] == 1):
        raise GxnorError("expected to squeeze extents, got the batch or the channels")
    shape = tuple(n for i, n in enumerate(x.shape, 1) if i == 1 or i not in axes or n != 1)
    if math.prod(x.shape) != x.shape[0]:
        if shape == x.shape:
            return x
        raise GxnorError(f"expected to squeeze (batch, channels) out, {x.shape[1:]} has places left")
    return replace(flatten(build, x, 1) if len(x.shape) > 1 else x, shape=shape)


def reshape(build: Builder, x, *shape) -> Tensor | Grouped:
    shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    grouped = isinstance(x, Grouped)
    whole, order = (x.x, x.order) if grouped else (tensor(x), torch.arange(x.shape[0]))
    channels, *extents = whole.shape
    features = math.prod(whole.shape)
    if shape[:1] == (-1,) and list(shape[3:]) == extents and len(shape) == len(extents) + 3:
        sizes = [channels // max(-shape[1] * shape[2], 1) if n == -1 else n for n in shape[1:3]]
        if math.prod(sizes) == channels:
            return Grouped(whole, order.reshape(sizes))
    if grouped and shape[:1] == (-1,) and shape[1] in (-1, channels) and list(shape[2:]) == extents:
        return pick(build, whole, order.flatten())
    if not grouped and shape in ((-1, *whole.shape), (-1, -1, *extents)) and extents:
        return x
    if not grouped and shape in ((-1, channels, -1), (-1, channels, math.prod(extents))):
        return _flat_places(build, whole)
    if grouped or len(shape) != 2 or shape[0] != -1 or shape[1] not in (-1, features):
        raise GxnorError(f"expected to reshape to (batch, {features}), or channels to groups and back, got {shape}")
    return flatten(build, whole, 1)


def transpose(build: Builder, x, a, b) -> Grouped:
    """Of groups of channels, between `reshape` and `reshape`: a channel shuffle."""
    if x is UNKNOWN:
        raise Unknown
    if not isinstance(x, Grouped) or {a % (len(x.x.shape) + 2), b % (len(x.x.shape) + 2)} != {1, 2}:
        raise GxnorError(
            "expected to swap groups of channels and channels: values stay (batch, channels, height, width), and "
            "nn.ChannelShuffle reorders channels"
        )
    return replace(x, order=x.order.t())


def pad(build: Builder, x, pads, mode="constant", value=None) -> Tensor:
    if isinstance(pads, nn.Module):
        pads, value = pads.padding, getattr(pads, "value", 0)
    if mode != "constant" or value or min(pads) < 0:
        raise GxnorError(f"expected padding with zeros, got mode={mode!r}, value={value}, {tuple(pads)}")
    dims = len(tensor(x).shape) - 1
    pads = tuple(pads) + (0,) * (2 * dims + 2 - len(pads))
    if len(pads) != 2 * dims + 2:
        raise GxnorError(f"expected padding of extents and channels, got {pads}")
    x, (*extents, first, last) = integers(build, x), pads
    if any(extents):
        x = build.emit(Pad((x.number,), tuple(extents[-2::-2]), tuple(extents[::-2])), x.unit, x)
    if not first and not last:
        return x
    zeros = build.emit(Add((x.number, x.number), (0, 0)), x.unit, x).number

    def channels(count: int) -> tuple[int, ...]:
        return (build.emit(Channels((zeros,), np.zeros(count, np.int32)), x.unit).number,) if count else ()

    inputs = (*channels(first), x.number, *channels(last))
    return build.emit(Concat(inputs), x.unit, x)


def upsample(build: Builder, x, size=None, scale_factor=None, mode="nearest", align_corners=None, **_) -> Tensor:
    if isinstance(size, nn.Upsample):
        size, scale_factor, mode = size.size, size.scale_factor, size.mode
    if mode not in ("nearest", "nearest-exact"):  # the same by whole factors
        raise GxnorError(
            f"expected mode='nearest', got {mode!r}, which averages: a convolution after nearest neighbours smooths too"
        )
    extents = tensor(x).shape[1:]
    factors = tuple_of(scale_factor, len(extents)) if size is None else [
        to / n for to, n in zip(tuple_of(size, len(extents)), extents, strict=True)
    ]  # fmt: skip
    if not extents or any(factor < 1 or factor != int(factor) for factor in factors):
        raise GxnorError(f"expected whole factors of {extents}, got size={size}, scale_factor={scale_factor}")
    return build.copy(x, Upsample((0,), tuple(int(factor) for factor in factors)))


def pick(build: Builder, x, order: torch.Tensor) -> Tensor:
    """Some channels in some order."""
    return build.copy(known(x), Channels((0,), order.numpy().astype(np.int32)), order)


def size(build: Builder, x, dim=None):
    """-1 stands for the size of the batch, on which nothing may depend, as it does in `reshape`."""
    shape = (-1, *tensor(x).shape)
    return shape if dim is None else shape[dim]


def attribute(build: Builder, x, name: str):
    if isinstance(x, tuple) and hasattr(x, name):  # a largest and where it is
        return getattr(x, name)
    if name not in ("shape", "ndim"):
        raise GxnorError(f".{name} is not an operation of an integer program")
    shape = size(build, x)
    return shape if name == "shape" else len(shape)


def tuple_of(value, dims: int) -> tuple:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * dims
