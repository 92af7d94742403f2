"""The stream of random draws: uniform, uncorrelated, and the same in Python and in the native kernel."""

import math

import pytest
import torch

from gxnor.nn import DiscreteParameter, stream
from gxnor.optim.transition import TransitionRule, move
from gxnor.space import DiscreteSpace

COUNT = 1_000_000
KEYS = [0, 1, 2**63, 2**64 - 1, stream.GAMMA, 0x123456789ABCDEF]


def splitmix(key: int, i: int) -> float:
    """Draw i in Python's unbounded integers."""
    mask = 2**64 - 1
    z = (key + (i + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 40) / 2**24


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """In units of its standard deviation for independent draws."""
    return ((a - 0.5) * (b - 0.5)).mean(dtype=torch.float64).item() * 12 * math.sqrt(len(a))


def test_known_value():
    """The first output of SplitMix64 seeded with 0 is 0xE220A8397B1DCDAF."""
    assert stream.uniform(0, 1).item() == (0xE220A8397B1DCDAF >> 40) / 2**24


@pytest.mark.parametrize("key", KEYS)
def test_equals_the_definition(key):
    u = stream.uniform(key, 300)
    assert u.dtype == torch.float32
    assert u.tolist() == [splitmix(key, i) for i in range(300)]
    assert stream.uniform(key, 0).shape == (0,)


@pytest.mark.parametrize("key", KEYS)
def test_uniform(key):
    u = stream.uniform(key, COUNT)
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean(dtype=torch.float64) - 0.5) < 5 / math.sqrt(12 * COUNT)
    assert abs(u.double().var() - 1 / 12) < 5 / math.sqrt(180 * COUNT)
    counts = torch.bincount((u * 64).int(), minlength=64)
    chi_square = ((counts - COUNT / 64) ** 2 / (COUNT / 64)).sum().item()
    assert 63 - 5 * math.sqrt(126) < chi_square < 63 + 5 * math.sqrt(126)


@pytest.mark.parametrize("key", KEYS)
def test_draws_do_not_depend_on_those_before(key):
    u = stream.uniform(key, COUNT)
    for lag in (1, 2, 3, 64, 256, 1024):
        assert abs(correlation(u[:-lag], u[lag:])) < 5


def test_streams_of_subkeys_are_independent():
    keys = [stream.subkey(key, number) for key in (0, 1, 99, -5) for number in range(8)]
    assert len(set(keys)) == len(keys) and all(0 <= key < 2**64 for key in keys)
    streams = [stream.uniform(key, 50_000) for key in keys]
    for i, a in enumerate(streams):
        for b in streams[:i]:
            assert abs(correlation(a, b)) < 5.5
    # the first draws of many streams are as uniform as the draws of one
    first = torch.cat([stream.uniform(stream.subkey(7, number), 1) for number in range(5000)])
    assert abs(first.mean() - 0.5) < 5 / math.sqrt(12 * 5000)
    assert abs(correlation(first[:-1], first[1:])) < 5


@pytest.mark.parametrize("key", KEYS)
def test_the_native_kernel_draws_the_same(key, instruction_set):
    """With states one apart and the linear rule a weight moves if and only if its draw is below its increment."""
    u = stream.uniform(key, 5000)
    for dW, expected in ((u, 0), (u + 2.0**-24, 5000)):
        w = DiscreteParameter.from_indices(torch.zeros(5000, dtype=torch.uint8), DiscreteSpace(0, 0.5))
        assert move(w, dW, key, TransitionRule(1.0, "linear")) == expected
