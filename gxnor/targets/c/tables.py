"""The constants of the kernels as arrays: weights and thresholds laid bit by bit across words of 32 channels."""

from __future__ import annotations

import numpy as np

LANES = 32


def words(bits: np.ndarray) -> np.ndarray:
    """uint32 (groups, ...): bool (channels, ...) with channel 32 g + i in bit i of word g; bits to spare are 0."""
    groups = -(-len(bits) // LANES)
    padded = np.zeros((groups * LANES, *bits.shape[1:]), dtype=np.uint32)
    padded[: len(bits)] = bits
    lanes = np.arange(LANES, dtype=np.uint32).reshape(LANES, *(1,) * (bits.ndim - 1))
    return np.bitwise_or.reduce(padded.reshape(groups, LANES, *bits.shape[1:]) << lanes, axis=1)


def rows(weight: np.ndarray) -> np.ndarray:
    """int64 (out, rows): a row for every tap and, within it, for every input channel."""
    return np.moveaxis(weight.astype(np.int64), 1, -1).reshape(len(weight), -1)


def event_weights(weight: np.ndarray, bits: int) -> np.ndarray:
    """uint32 (groups, bits, rows + 1, 2): for every bit of the magnitude the digits d of -1, 0, 1 as (d > 0, d == 0); the
    last row is all -1, which counts nothing."""
    columns = rows(weight)
    digits = np.sign(columns) * (np.abs(columns) >> np.arange(bits).reshape(bits, 1, 1) & 1)  # (bits, out, rows)
    planes = np.stack([digits > 0, digits == 0], axis=-1)
    planes = np.concatenate([planes, np.zeros_like(planes[:, :, :1])], axis=2)
    return words(np.moveaxis(planes, 1, 0))


def event_masks(rest: np.ndarray, bits: int) -> np.ndarray:
    """uint32 (bits, 2, groups, 2): for every bit of an event's size and sign (positive, negative), the channels whose
    states of that sign are such events, and those whose zeros are. An event is x - rest:

        rest 0: as x;   rest -1: 0 makes 1, and 1 makes 2;   rest 1: 0 makes -1, and -1 makes -2."""
    masks = np.zeros((len(rest), bits, 2, 2), dtype=bool)
    masks[rest == 0, :, :, 0] = True
    if rest.any():
        masks[rest == 0, 1] = False
        for sign in (0, 1):
            resting = rest == 2 * sign - 1
            masks[resting, 0, sign, 1] = True
            masks[resting, 1, sign, 0] = True
    return np.moveaxis(words(masks), 0, 2)


def resting_sums(weight: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """int64 (out,): what inputs at rest sum up to, in every window."""
    return np.einsum("oihw,i->o", weight.astype(np.int64), rest.astype(np.int64))


def event_thresholds(steps: np.ndarray, planes: int) -> np.ndarray:
    """uint32 (groups, steps, planes): thresholds plus 2^(planes - 1), bit by bit."""
    shifted = steps + 2 ** (planes - 1)
    return words((shifted[:, :, None] >> np.arange(planes) & 1).astype(bool))


def clipped(steps: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Thresholds within -reach .. reach + 1 of their channel, deciding the same."""
    return np.clip(steps, -reach[:, None], reach[:, None] + 1)


def plane_weights(weight: np.ndarray) -> np.ndarray:
    """uint32 (out, height, width, groups, 2): input channels whose weight is 1, and those whose weight is -1."""
    signs = np.stack([weight > 0, weight < 0], axis=-1)  # (out, in, height, width, 2)
    return np.moveaxis(words(np.moveaxis(signs, 1, 0)), 0, 3)


def pixel_weights(weight: np.ndarray) -> np.ndarray:
    """uint32 (taps, groups, 16): weights of outputs i and i + 16 of a group as low + 65536 high, in the order (channel,
    height, width) of taps."""
    flat = weight.astype(np.int64).reshape(len(weight), -1)
    return np.moveaxis(_pairs(flat), -1, 0)


def pixel_thresholds(steps: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """uint32 (groups, steps, 17): what is added to a pair of sums so that bits 15 and 31 tell whether they reach their
    thresholds, and the word that a window without events makes."""
    steps = clipped(steps, reach)
    added = np.moveaxis(_pairs(0x8000 - steps), -1, 1)  # (groups, steps, 16)
    return np.concatenate([added, words(steps <= 0)[:, :, None]], axis=2)


def _pairs(numbers: np.ndarray) -> np.ndarray:
    """uint32 (groups, 16, n) of int64 (outputs, n)."""
    groups = -(-len(numbers) // LANES)
    padded = np.zeros((groups * LANES, numbers.shape[1]), dtype=np.int64)
    padded[: len(numbers)] = numbers
    halves = padded.reshape(groups, 2, LANES // 2, -1)
    return ((halves[:, 0] + (halves[:, 1] << 16)) & 0xFFFFFFFF).astype(np.uint32)
