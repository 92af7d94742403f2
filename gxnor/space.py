"""The discrete space Z_N: which states a weight or an activation can be in.

    Z_N = { H * (n * 2^(1-N) - 1) : n = 0 .. 2^N }

has 2^N + 1 states in [-H, H], one `step` apart: N = 0 is binary {-H, H}, N = 1 ternary {-H, 0, H}, N = 2 has five
states. (GXNOR-Net, arXiv 1705.09283, section 2.1.)

A state is known by its *index* n, its real *value*, or its integer *level*, where value = H * level / denominator.
Integer programs compute with levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_H, MAX_H = 2.0**-100, 2.0**100  # well inside float32, every step and every difference of states too
MAX_N = 7  # 129 states: the largest space whose state indices fit a byte with room for arithmetic


@dataclass(frozen=True)
class DiscreteSpace:
    """Z_N scaled to [-H, H].

    Args:
        N: 0 (binary), 1 (ternary), 2 (five states), ... up to 7 (129 states).
        H: the range; the largest state.

    Raises:
        ValueError: N is not an integer in 0..7, or H is not a number from 2^-100 to 2^100.
    """

    N: int
    H: float = 1.0

    def __post_init__(self):
        if isinstance(self.N, bool) or not isinstance(self.N, int) or not 0 <= self.N <= MAX_N:
            raise ValueError(f"N must be an integer from 0 (binary) to {MAX_N}, got {self.N!r}")
        if not (isinstance(self.H, (int, float)) and MIN_H <= self.H <= MAX_H):
            raise ValueError(f"H must be a positive number (2^-100 to 2^100), got {self.H!r}")

    @property
    def size(self) -> int:
        """Number of states, 2^N + 1."""
        return 2**self.N + 1

    @property
    def step(self) -> float:
        """Distance between neighbouring states, dz = H * 2^(1-N)."""
        return self.H * 2.0 ** (1 - self.N)

    @property
    def bits(self) -> int:
        """Bits that tell one state from the others, ceil(log2(size))."""
        return (self.size - 1).bit_length()

    @property
    def denominator(self) -> int:
        """The level of the largest state: value = H * level / denominator."""
        return 2 ** max(self.N - 1, 0)

    @property
    def levels(self) -> np.ndarray:
        """int32 [size]: the integer level of every state, ascending and symmetric around 0."""
        n = np.arange(self.size, dtype=np.int32)
        return 2 * n - 1 if self.N == 0 else n - self.denominator

    @property
    def values(self) -> np.ndarray:
        """float32 [size]: the value of every state, ascending."""
        return (self.levels / self.denominator).astype(np.float32) * np.float32(self.H)

    def value(self, index) -> np.ndarray:
        """float32 values of state indices (any integer array). Raises ValueError for an index outside 0..size-1."""
        index = np.asarray(index)
        if index.size and (index.min() < 0 or index.max() >= self.size):
            raise ValueError(f"state indices of {self} run from 0 to {self.size - 1}, got {index.min()}..{index.max()}")
        return self.values[index]

    def index(self, value) -> np.ndarray:
        """uint8 state indices of values that are states. Raises ValueError for any other value: see `nearest`."""
        value = np.asarray(value, dtype=np.float64)
        if not self.contains(value).all():
            raise ValueError(f"expected states of {self}, got other values; project(x) gives the nearest states")
        return self.nearest(value)

    def nearest(self, x) -> np.ndarray:
        """uint8 index of the state nearest to each x; halfway goes away from zero (binary: 0 goes up), and what lies
        outside [-H, H] to the end. Raises ValueError for NaN."""
        x = np.asarray(x, dtype=np.float64)
        if np.isnan(x).any():
            raise ValueError("NaN has no nearest state")
        if self.N == 0:
            return (x >= 0).astype(np.uint8)
        with np.errstate(over="ignore"):  # an overflow to infinity is clipped to the end, as it should be
            distance = np.minimum(np.abs(x) / self.step, self.denominator)
        level = np.floor(distance)
        level += distance - level >= 0.5  # exact, which floor(distance + 0.5) is not just below a half
        return (np.copysign(level, x) + self.denominator).astype(np.uint8)

    def project(self, x) -> np.ndarray:
        """float32 value of the nearest state: `value(nearest(x))`."""
        return self.values[self.nearest(x)]

    def contains(self, x) -> np.ndarray:
        """bool: which x are exactly (as float32) states of this space; NaN is not."""
        return np.isin(np.asarray(x, dtype=np.float32), self.values)

    def random(self, shape, generator: np.random.Generator) -> np.ndarray:
        """uint8 indices of the given shape, every state equally likely."""
        return generator.integers(self.size, size=shape, dtype=np.uint8)
