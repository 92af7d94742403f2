"""Counters: their packing, and weights that move on the finer lattice."""

import copy
import functools
import itertools
import math

import pytest
import torch
from torch import nn

from gxnor import optim
from gxnor.nn import Activation, Conv2d, DiscreteParameter, Linear
from gxnor.nn.stream import uniform
from gxnor.optim import transition
from gxnor.optim.counter import counter_bytes, most_bits, new_counters, pack_counters, unpack_counters
from gxnor.optim.transition import TransitionRule, move
from gxnor.space import DiscreteSpace

# The paper's rule, unless a test says otherwise.
DST = functools.partial(optim.DST, increment="adam", counter=0, m=3.0, probability="tanh")

DRAWS = 100_000


@pytest.mark.parametrize("bits", range(1, 8))
def test_counters_come_back_from_their_bytes(bits):
    for n in (1, 7, 8, 9, 1000):
        counters = torch.randint(2**bits, (n,), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
        packed = pack_counters(counters, bits)
        assert packed.dtype == torch.uint8 and packed.shape == (counter_bytes(n, bits),) == (bits * math.ceil(n / 8),)
        assert torch.equal(unpack_counters(packed, bits, counters.shape), counters)


def test_bytes_as_documented():
    assert pack_counters(torch.arange(8, dtype=torch.uint8), 3).tolist() == [0b10001000, 0b11000110, 0b11111010]


@pytest.mark.parametrize("N", range(8))
def test_state_and_counter_fit_a_byte(N):
    space = DiscreteSpace(N)
    assert space.size * 2 ** most_bits(space) <= 256 < space.size * 2 ** (most_bits(space) + 1)


def test_new_counters_stand_in_the_middle_or_at_the_end():
    weight = DiscreteParameter.from_indices(torch.tensor([0, 1, 2], dtype=torch.uint8), DiscreteSpace(1))
    assert unpack_counters(new_counters(weight, 4), 4, weight.shape).tolist() == [8, 8, 7]


@pytest.mark.parametrize("N, bits", [(0, 3), (1, 4), (1, 6), (2, 5)])
def test_what_is_too_little_adds_up_to_a_move(N, bits):
    """From one end to the other by increments of one place: every place inside is visited once, and no draw matters."""
    space, H = DiscreteSpace(N, 2.0), 2.0
    weight = DiscreteParameter.from_indices(torch.zeros(3, dtype=torch.uint8), space)
    counters = new_counters(weight, bits)
    one = space.step / 2**bits
    places = round(2 * H / one)
    seen = []
    for step in range(places + 5):
        seen.append(weight.indices()[0].item())
        move(weight, torch.full((3,), one), step, TransitionRule(1.0, "linear", bits), counters)
    half, whole = 2**bits // 2, 2**bits
    states = [0] * half + [s for s in range(1, space.size - 1) for _ in range(whole)] + [space.size - 1] * half
    assert seen == states + states[-1:] * 5
    for step in range(places - 1):
        move(weight, torch.full((3,), -one), step, TransitionRule(1.0, "linear", bits), counters)
    assert weight.indices().tolist() == [0, 0, 0]
    assert unpack_counters(counters, bits, weight.shape).tolist() == [half] * 3


@pytest.mark.parametrize("dW", [-0.4, -0.013, 0.0021, 0.05, 0.3])
def test_the_linear_rule_moves_by_the_increment_in_expectation(dW):
    space, bits = DiscreteSpace(1), 4
    place = torch.full((DRAWS,), 16 + 8, dtype=torch.uint8)  # the middle of state 0
    u = torch.rand(DRAWS, generator=torch.Generator().manual_seed(0))
    after = transition(place, torch.full((DRAWS,), dW), space, u, TransitionRule(1.0, "linear", bits))
    mean = (after.double() - 24).mean() / 16
    assert abs(mean - dW) < 5 * 0.5 / 16 / math.sqrt(DRAWS)


def test_counters_of_another_size_are_refused_and_nothing_moves():
    weight = DiscreteParameter.random((9,), DiscreteSpace(1), torch.Generator().manual_seed(0))
    before = weight.packed.clone()
    for counters, bits in ((None, 4), (torch.zeros(8, dtype=torch.uint8), 0), (torch.zeros(7, dtype=torch.uint8), 4)):
        with pytest.raises(ValueError, match="bytes of counters"):
            move(weight, torch.ones(9), 1, TransitionRule(1.0, "linear", bits), counters)
    assert torch.equal(weight.packed, before)


@pytest.mark.parametrize("N, bits", [(0, 7), (1, 4), (1, 5), (3, 3)])
def test_without_a_kernel_places_move_alike(N, bits):
    """Increments in double precision have no kernel: the way of every other device."""
    for n in (1, 7, 8, 257):
        draws = torch.Generator().manual_seed(n)
        weight = DiscreteParameter.random((n,), DiscreteSpace(N), draws)
        counters = new_counters(weight, bits)
        before = (weight.indices() << bits) + unpack_counters(counters, bits, weight.shape)
        dW = torch.randn(n, generator=draws, dtype=torch.float64)
        moved = move(weight, dW, 5, TransitionRule(1.0, "linear", bits), counters)
        expected = transition(before, dW, weight.space, uniform(5, n), TransitionRule(1.0, "linear", bits))
        assert torch.equal((weight.indices() << bits) + unpack_counters(counters, bits, weight.shape), expected)
        assert moved == int((expected >> bits != before >> bits).sum())
    with pytest.raises(ValueError, match="NaN"):
        move(weight, dW * math.nan, 5, TransitionRule(1.0, "linear", bits), counters)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Conv2d(3, 64, 3), nn.BatchNorm2d(64), Activation(), nn.Flatten(), Linear(64 * 16, 300), nn.BatchNorm1d(300),
        Activation(), Linear(300, 10), nn.BatchNorm1d(10),
    )  # fmt: skip


def train(net: nn.Module, optimizer: DST, steps: int) -> None:
    for step in range(steps):
        draws = torch.Generator().manual_seed(step)
        x, labels = torch.randn(8, 3, 6, 6, generator=draws), torch.randint(10, (8,), generator=draws)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()
    optimizer.zero_grad()


def low_memory(net: nn.Module, **settings) -> DST:
    settings = {"increment": "factored", "counter": 4, "m": 1.0, "probability": "linear", **settings}
    return DST(net, 0.1, generator=torch.Generator().manual_seed(1), **settings)


def reachable(*roots) -> list[torch.Tensor]:
    """Every tensor that can be reached from the roots, the packed states in discrete weights too."""
    found, seen, left = [], set(), list(roots)
    while left:
        node = left.pop()
        if id(node) in seen or isinstance(node, (str, int, float, type, torch.Generator)):
            continue
        seen.add(id(node))
        if isinstance(node, torch.Tensor):
            found += [] if isinstance(node, DiscreteParameter) else [node]
            left.append(node.grad if node.is_leaf else None)
        if isinstance(node, dict):
            left += [*node.keys(), *node.values()]
        elif isinstance(node, (list, tuple, set)):
            left += list(node)
        elif hasattr(node, "__dict__"):
            left += list(vars(node).values())
    return found


def test_all_that_persists_is_below_a_byte_a_weight_and_no_float_has_a_weights_size():
    net = network()
    optimizer = low_memory(net)
    train(net, optimizer, 3)
    sizes = [p.numel() for p in net.parameters() if isinstance(p, DiscreteParameter)]
    tensors = reachable(net, optimizer)
    assert len(tensors) > 20
    assert sum(t.numel() * t.element_size() for t in tensors) <= 1.0 * sum(sizes)
    assert not [t.shape for t in tensors if t.is_floating_point() and t.numel() >= min(sizes)]


@pytest.mark.parametrize("bits, N", [*itertools.product((0, 3, 6), (0, 1, 3))])
def test_a_saved_run_goes_on_bit_for_bit(bits, N):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), Linear(108, 33, N=N), nn.BatchNorm1d(33), Linear(33, 10, N=N), nn.BatchNorm1d(10))
    optimizer = low_memory(net, counter=bits)
    train(net, optimizer, 3)
    other = copy.deepcopy(net)
    resumed = low_memory(other, counter=bits)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for run in ((net, optimizer), (other, resumed)):
        train(*run, 3)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(getattr(a, "packed", a), getattr(b, "packed", b))
        for key, value in optimizer.state[a].items():
            same = resumed.state[b][key]
            assert value.dtype == same.dtype and torch.equal(value, same) if isinstance(value, torch.Tensor) else True


def test_a_counter_beyond_the_byte_is_taken_as_what_fits():
    net = nn.Sequential(nn.Flatten(), Linear(108, 10, N=7))
    optimizer = low_memory(net, counter=4)
    train(net, optimizer, 2)
    assert "counter" not in optimizer.state[net[1].weight]


@pytest.mark.parametrize("bits", [-1, 8, 2.0])
def test_impossible_counters_are_named(bits):
    with pytest.raises(ValueError, match="counter must be 0 to 7 bits"):
        low_memory(network(), counter=bits)
