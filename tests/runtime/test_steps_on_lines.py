"""Thresholds of many levels, evenly spaced or nearly so: where float32 may count them, it counts what comparisons count."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import programs
from benchmarks.programs import Builder
from gxnor import native
from gxnor.program import ALWAYS, NEVER, Requantize, Threshold
from gxnor.space import DiscreteSpace
from tests.agreement import assert_agrees, finished

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


def steps_of(kind: str, rows: int, channels: int, reach: float, random: np.random.Generator) -> np.ndarray:
    """int32 [channels, rows], within `reach` or a little beyond."""
    k = np.arange(rows) - (rows - 1) / 2
    spacing = random.uniform(0.5, 2, (channels, 1)) * reach / rows
    middle = random.uniform(-0.3, 0.3, (channels, 1)) * reach
    steps = np.ceil(middle + k * spacing)
    if kind == "whole":
        steps = np.rint(middle) + (np.arange(rows) - rows // 2) * np.rint(spacing)
    elif kind == "halves towards zero":
        steps = 2 * k * np.rint(spacing / 2)
        steps += steps > 0
    elif kind == "bent":
        steps[-1, rows // 2 :] += 3
    elif kind == "constant":
        at = random.integers(0, rows + 1, (channels, 1))
        steps = np.where(random.random((channels, 1)) < 0.5, np.where(np.arange(rows) < at, ALWAYS, NEVER), steps)
    return steps.clip(ALWAYS, NEVER).astype(np.int32)


@pytest.mark.parametrize("kind", ["rounded", "whole", "halves towards zero", "bent", "constant"])
@pytest.mark.parametrize("N", [2, 3, 5, 7])
def test_steps_on_a_line(N, kind):
    """Sums that take nearly every value, so that they lie on, above and below every step."""
    space, random = DiscreteSpace(N), np.random.default_rng(N)
    for channels in (1, 16, 37):
        net = Builder((2, 40, 41), seed=channels)
        sums = net.conv(channels, 1)
        sign = random.choice(np.array([-1, 1], np.int8), channels)
        net.add(Threshold((sums,), space, steps_of(kind, space.size - 1, channels, 510, random), sign), 1.0)
        assert_agrees(finished(net), programs.batch(net, 2))


@pytest.mark.parametrize("spacing", [2**14, 2**18, 2**20, 2**22 - 5])
@pytest.mark.parametrize("split", [False, True])
def test_steps_on_a_line_of_large_sums(split, spacing):
    """Multiples of the spacing and something small: near every step, with and without bits that float32 has no room for."""
    space, random = DiscreteSpace(5), np.random.default_rng(spacing)
    net = Builder((2, 40, 41), seed=spacing)
    small = net.conv(16, 1)
    multiples = Requantize((net.conv(16, 1, at=0),), 0, np.full(16, spacing, np.int32), np.zeros(16, np.int64))
    near = net.plus(net.add(multiples, 100.0 * spacing), small)
    steps = (np.arange(32) - 16) * spacing + random.integers(-300, 300, (16, 1))
    steps += split & (steps > 0)
    sign = random.choice(np.array([-1, 1], np.int8), 16)
    net.add(Threshold((near,), space, steps.astype(np.int32), sign), 1.0)
    assert_agrees(finished(net), programs.batch(net, 2))
