"""How far the channels of a value can move: what says how fine the integers of real numbers have to be.

A channel that hardly ever changes has a batch norm that scales it up a hundredfold, and the bound of a value is that of its
largest channel, so the bound alone does not say how large the others are.
"""

from __future__ import annotations

import math

import numpy as np

from gxnor.program.ops import Add, Channels, Concat, Conv, Dense, Flatten, Layer, Requantize, SumPool, Threshold
from gxnor.program.values import Value


def of(layer: Layer, value: Value, *given: np.ndarray) -> np.ndarray:
    """Half the range of each channel of the layer's value, constant offsets left out, from that of its inputs: float64
    (channels,). Of a sum over channels, as if all had the median."""
    match layer:
        case Conv() | Dense():
            share = np.median(given[0]) / max(given[0].max(), 1)
            return np.full(value.shape[0], value.bound * share)
        case Threshold():
            return np.full(value.shape[0], float(value.bound))
        case Requantize():
            return np.abs(layer.multiplier) * given[0] / 2.0**layer.shift
        case Add():
            return abs(layer.factors[0]) * given[0] + abs(layer.factors[1]) * given[1]
        case Concat():
            return np.concatenate(given)
        case Channels():
            return given[0][layer.order]
        case SumPool():
            return given[0] * math.prod(layer.kernel)
        case Flatten():
            return given[0].repeat(value.shape[0] // given[0].size)
    return given[0]
