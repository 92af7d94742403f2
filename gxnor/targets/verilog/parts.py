"""What the sums of a circuit are made of: events through integer weights, and these weights in planes of -1, 0, 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gxnor.targets.stages import Linear, Window
from gxnor.targets.verilog.plan import Emission, Sums, Triple


@dataclass(frozen=True, eq=False)
class Part:
    """A share of a sum: events (None: of the input) of least..most through weights, any integers. It stands for
    factor sum + offset * (all weights of a channel)."""

    emission: Emission | None
    shape: Triple
    weight: np.ndarray  # int64 (in, kernel height, kernel width, out), or (in, 1, 1, out)
    window: Window
    least: int
    most: int
    factor: int = 1
    offset: int = 0


@dataclass(eq=False)
class Pending:
    """A sum of parts that has no accumulators until they are asked for."""

    numbers: tuple[int, ...]
    shape: Triple
    parts: list[Part]
    sums: Sums | None = None


@dataclass(frozen=True, eq=False)
class Largest:
    """A max-pool of sums, which waits for a threshold."""

    sums: Sums
    window: Window


def planes(weight: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(p, int8 plane) with weight = sum of 2^p * plane, planes in -1, 0, 1; one at least."""
    size, sign = np.abs(weight), np.sign(weight).astype(np.int8)
    every = [(p, sign * (size >> p & 1).astype(np.int8)) for p in range(int(size.max()).bit_length())]
    return [(p, plane) for p, plane in every if plane.any()] or [(0, sign)]


def eye(channels: int) -> np.ndarray:
    """Weights that leave every channel as it is."""
    return np.eye(channels, dtype=np.int64)[:, None, None]


def ungrouped(stage: Linear, channels: int) -> np.ndarray:
    """Weights of a layer in groups, with the zeros between its groups: (in, height, width, out)."""
    outputs = len(stage.weight)
    weight = np.zeros((outputs, channels, *stage.weight.shape[2:]), np.int64)
    share, per_group = channels // stage.groups, outputs // stage.groups
    for group in range(stage.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        weight[rows, group * share : (group + 1) * share] = stage.weight[rows]
    return weight.transpose(1, 2, 3, 0)
