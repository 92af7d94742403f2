"""States at rest: the state that a channel is in most of the time, counted on samples.

A sum over inputs x with rest r is the sum over x - r, which is 0 most of the time, plus a constant of every output,

    sum of w x = sum of w (x - r) + sum of w r,

so that a kernel which works only where x is not at rest has less to do, and the result is the same.
"""

from __future__ import annotations

import numpy as np

from gxnor.program import reference
from gxnor.targets.stages import Lowered

BATCH = 16  # samples at a time


def states(lowered: Lowered, samples: np.ndarray | None) -> dict[int, np.ndarray]:
    """int8 (C,) for every value of states: the level that every channel is in most often; 0 without samples."""
    chosen = {n: (value.shape, value.space) for n, value in lowered.values.items() if value.space is not None}
    if samples is None:
        return {number: np.zeros(shape[0], dtype=np.int8) for number, (shape, _) in chosen.items()}
    counts = {number: 0 for number in chosen}
    for start in range(0, len(samples), BATCH):
        values = reference.trace(lowered.program, samples[start : start + BATCH])
        for number, (shape, space) in chosen.items():
            seen = np.moveaxis(values[number].reshape(-1, shape[0], int(np.prod(shape[1:]))), 1, 0)
            levels = space.levels.reshape(-1, 1, 1, 1)
            counts[number] = counts[number] + (seen == levels).sum(axis=(2, 3))
    return {
        number: space.levels[np.argmax(counts[number], axis=0)].astype(np.int8) for number, (_, space) in chosen.items()
    }
