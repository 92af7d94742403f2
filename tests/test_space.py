"""The discrete space against its formula."""

import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import gxnor
from gxnor import DiscreteSpace

SPACES = [DiscreteSpace(N, H) for N in range(8) for H in (1.0, 2.0, 0.5, 0.3)]


def exact_states(space: DiscreteSpace) -> list[Fraction]:
    """H (n / 2^(N-1) - 1), n = 0 .. 2^N, without rounding."""
    return [Fraction(space.H) * (n / Fraction(2) ** (space.N - 1) - 1) for n in range(2**space.N + 1)]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_states_are_those_of_the_formula(space):
    states = exact_states(space)
    assert space.size == len(states) == len(space.values) == len(space.levels)
    assert space.values.dtype == np.float32
    # H is rounded to float32 once and the product once more
    np.testing.assert_allclose(space.values, [float(s) for s in states], rtol=2**-22, atol=0)
    assert all(float(b - a) == pytest.approx(space.step) for a, b in itertools.pairwise(states))
    assert [Fraction(space.H) * Fraction(int(level), space.denominator) for level in space.levels] == states
    assert space.values[-1] == -space.values[0] == np.float32(space.H)


def test_named_special_cases():
    assert DiscreteSpace(0).values.tolist() == [-1, 1]
    assert DiscreteSpace(1).values.tolist() == [-1, 0, 1]
    assert DiscreteSpace(2).values.tolist() == [-1, -0.5, 0, 0.5, 1]
    assert DiscreteSpace(1, 3).values.tolist() == [-3, 0, 3]


@pytest.mark.parametrize("N, bits", [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8)])
def test_bits_tell_all_states_apart(N, bits):
    space = DiscreteSpace(N)
    assert space.bits == bits
    assert 2 ** (bits - 1) < space.size <= 2**bits


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_nearest_state_by_exhaustive_search(space):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.5 * space.H, 1.5 * space.H, 2000)
    distance = np.abs(x[:, None] - np.array([float(s) for s in exact_states(space)]))
    nearest = space.nearest(x)
    assert nearest.dtype == np.uint8
    np.testing.assert_array_equal(nearest, distance.argmin(axis=1))
    np.testing.assert_array_equal(space.project(x), space.values[nearest])


@pytest.mark.parametrize("N", range(1, 8))
@pytest.mark.parametrize("H", [1.0, 2.0])
def test_halfway_goes_away_from_zero_and_just_below_it_does_not(N, H):
    space = DiscreteSpace(N, H)
    positive = space.values[space.values >= 0].astype(np.float64)
    ties = (positive[:-1] + positive[1:]) / 2
    for sign in (1, -1):
        np.testing.assert_array_equal(space.project(sign * ties), sign * positive[1:])
        np.testing.assert_array_equal(space.project(sign * np.nextafter(ties, 0)), sign * positive[:-1])


def test_binary_zero_goes_up():
    space = DiscreteSpace(0, 2.0)
    assert space.project([0.0, -0.0, 1e-300, -1e-300]).tolist() == [2, 2, 2, -2]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_values_outside_go_to_the_ends(space):
    top = space.size - 1
    x = [-np.inf, np.inf, -1.7e308, 1.7e308, -3 * space.H, 3 * space.H]
    assert space.nearest(x).tolist() == [0, top] * 3


def test_nan_has_no_nearest_state():
    with pytest.raises(ValueError, match="NaN"):
        DiscreteSpace(1).nearest([0.0, np.nan])


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_index_and_value_are_inverse(space):
    index = np.arange(space.size, dtype=np.uint8)
    assert space.contains(space.values).all()
    np.testing.assert_array_equal(space.index(space.value(index)), index)
    np.testing.assert_array_equal(space.value(index[:, None]), space.values[:, None])
    assert space.value(np.zeros((2, 0), dtype=np.uint8)).shape == (2, 0)


def test_what_is_no_state_is_refused():
    space = DiscreteSpace(2)
    assert space.contains([0.5, 0.25, 1, -1, 2, np.nan, np.inf]).tolist() == [True, False, True, True] + [False] * 3
    with pytest.raises(ValueError, match="expected states of DiscreteSpace"):
        space.index([0.5, np.nextafter(np.float32(0.5), np.float32(1))])
    with pytest.raises(ValueError, match="expected states"):
        space.index([np.nan])
    for wrong in ([5], [-1]):
        with pytest.raises(ValueError, match="from 0 to 4"):
            space.value(wrong)


@pytest.mark.parametrize("N", range(8))
def test_random_states_are_uniform_and_repeatable(N):
    space = DiscreteSpace(N)
    draws = space.random((200, 500), np.random.default_rng(7))
    assert draws.dtype == np.uint8 and draws.shape == (200, 500)
    np.testing.assert_array_equal(draws, space.random((200, 500), np.random.default_rng(7)))
    expected = draws.size / space.size
    counts = np.bincount(draws.ravel(), minlength=space.size)
    assert len(counts) == space.size
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < space.size - 1 + 5 * np.sqrt(2 * space.size) + 10


@pytest.mark.parametrize("N", [-1, 8, 1.0, True, "1", None])
def test_wrong_N_is_named(N):
    with pytest.raises(ValueError, match=f"N must be an integer .* got {N!r}"):
        DiscreteSpace(N)


@pytest.mark.parametrize("H", [0, -1.0, np.nan, np.inf, 1e300, 1e-300, "1", None])
def test_wrong_H_is_named(H):
    with pytest.raises(ValueError, match="H must be a positive number"):
        DiscreteSpace(1, H)


def test_spaces_are_values():
    assert DiscreteSpace(1) == DiscreteSpace(1, 1.0) != DiscreteSpace(1, 2.0)
    assert len({DiscreteSpace(1), DiscreteSpace(1, 1.0), DiscreteSpace(2)}) == 2


def test_importing_gxnor_does_not_import_torch():
    code = "import sys, gxnor, gxnor.packing; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(gxnor.__file__).parents[1])
