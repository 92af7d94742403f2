"""Thresholds of a sum in which real numbers became integers: where it lies so close to a step that rounding decides, as
PyTorch rounds it.

A channel of a sum takes one number for every pair of an integer of the first value and one of the second, which are few.
PyTorch makes a state of it by float32 arithmetic, and the program an integer. A threshold is right where it lies above the
integers of all pairs that PyTorch leaves below the step, and not above those of the others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from gxnor.exporter.builder import Builder
from gxnor.exporter.folding import as_float, indices
from gxnor.exporter.tensors import Tensor
from gxnor.program.ops import ALWAYS, NEVER, Add, Requantize
from gxnor.space import DiscreteSpace

MOST = 2**26  # pairs to look at, a gigabyte at most

Side = tuple[torch.Tensor, torch.Tensor]  # float32 and int64 [numbers, channels]: to PyTorch, and to the program


@torch.no_grad()
def settle(
    build: Builder,
    x: Tensor,
    steps: np.ndarray,
    activation: Callable[[torch.Tensor], torch.Tensor],
    space: DiscreteSpace,
) -> np.ndarray:
    """The thresholds int32 [channels, states - 1] of a rising activation of x, moved by as little as makes them right;
    unchanged where x is not such a sum, and those of a step that no threshold is right for."""
    parts = build.sums.get(x.number)
    if parts is None or x.norms or not any(part.number in build.requantized for part in parts):
        return steps
    if any(part.rounding and part.number not in build.requantized for part in parts):
        return steps  # a sum of real numbers itself: its pairs are not known
    counts = [2 * build.values[_source(build, part).number].bound + 1 for part in parts]
    if counts[0] * counts[1] * x.shape[0] > MOST:
        return steps
    add = build.layers[x.number - 1]
    assert isinstance(add, Add)
    first, second = (_side(build, *given) for given in zip(parts, counts, add.factors, strict=True))
    return fitted(steps, activation, space, first, second)


def fitted(
    steps: np.ndarray,
    activation: Callable[[torch.Tensor], torch.Tensor],
    space: DiscreteSpace,
    first: Side,
    second: Side,
) -> np.ndarray:
    """`settle` for what the two values can be."""
    (real, integers), (others, more) = sorted((first, second), key=lambda side: -len(side[0]))
    highest = torch.full((space.size, len(steps)), ALWAYS - 1, dtype=torch.int64)  # integers of the pairs, by state
    lowest = torch.full((space.size, len(steps)), NEVER, dtype=torch.int64)
    for other, integer in zip(others, more, strict=True):
        state = indices(activation(real + other), space)
        highest.scatter_reduce_(0, state, integers + integer, "amax")
        lowest.scatter_reduce_(0, state, integers + integer, "amin")
    below = highest.cummax(0).values[:-1].T
    above = lowest.flip(0).cummin(0).values.flip(0)[1:].T
    old = torch.from_numpy(steps).long()
    new = torch.where(below < above, old.clamp(below + 1, above), old)
    return np.ascontiguousarray(new.cummax(1).values.numpy().astype(np.int32))


def _source(build: Builder, part: Tensor) -> Tensor:
    return build.requantized.get(part.number, part)


def _side(build: Builder, part: Tensor, count: int, factor: int) -> Side:
    """What a value can be, times the factor that the sum gives it."""
    x, channels = _source(build, part), part.shape[0]
    n = (torch.arange(count) - count // 2)[:, None].expand(count, channels)
    real = as_float(n, x.unit).view(count, channels, *(1,) * (len(part.shape) - 1))
    for norm in x.norms:
        real = norm(real)
    if x is not part:
        layer = build.layers[part.number - 1]
        assert isinstance(layer, Requantize)
        n = (n * torch.from_numpy(layer.multiplier).long() + torch.from_numpy(layer.offset)) >> layer.shift
    return (1 if factor > 0 else -1) * real.view(count, channels), factor * n
