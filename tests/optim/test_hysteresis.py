"""Hysteresis: a weight that has changed its state is carried on, so that noise does not bring it back."""

import copy

import pytest
import torch
from torch import nn

from gxnor.nn import Linear
from gxnor.nn.stream import uniform
from gxnor.optim import DST, transition
from gxnor.optim.counter import unpack_counters
from gxnor.optim.transition import TransitionRule, move, move_packed
from gxnor.space import DiscreteSpace
from tests.optim.places import place_of, weight_at


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("up", [1, -1])
def test_what_brought_a_weight_over_an_edge_does_not_bring_it_back(split, up):
    """Increments of one place to and fro around the edge of a cell, and then as many back as the hysteresis has."""
    one = 1 / 32 if split else 1 / 16
    back = 4 if split else 2  # places of an eighth of a step

    def states(hysteresis: float, increments: list[int]) -> list[int]:
        middle = 32 if split else 24
        start = middle + 15 * up - (up < 0) if split else middle + (7 if up > 0 else -8)
        weight, counters = weight_at(torch.tensor([start], dtype=torch.uint8), DiscreteSpace(1), 4, split)
        seen = []
        for step, n in enumerate(increments):
            dW = torch.tensor([n * up * one])
            move(weight, dW, step, TransitionRule(1.0, "linear", 4, split, hysteresis), counters)
            seen.append(weight.dequantize(torch.float32).int().item() * up)
        return seen

    assert states(0.0, [1, -1, 1, -1]) == [1, 0, 1, 0]
    assert states(0.125, [1, -1, 1, -1]) == [1, 1, 1, 1]
    assert states(0.125, [1] + [-1] * (back + 1) + [1] * back) == [1] * (back + 1) + [0] * (back + 1)


@pytest.mark.parametrize(
    "N, bits, split", [(0, 4, False), (1, 1, True), (1, 4, False), (1, 4, True), (1, 6, True), (2, 3, False)]
)
@pytest.mark.parametrize("hysteresis", [0.125, 0.5])
def test_native_and_other_devices_equal_the_reference(N, bits, split, hysteresis, instruction_set):
    space = DiscreteSpace(N, 0.3)
    cells = 4 if split else space.size
    half = 0 if split else 2**bits // 2
    for n in (1, 8, 255, 256, 1003):
        for scale in (0.02, 0.3, 20.0):
            draws = torch.Generator().manual_seed(n)
            before = torch.randint(half, (cells << bits) - half, (n,), generator=draws).to(torch.uint8)
            dW = scale * torch.randn(n, generator=draws)
            dW[::7] = 0.0
            weight, counters = weight_at(before, space, bits, split)
            rule = TransitionRule(1.0, "linear", bits, split, hysteresis)
            expected = transition(before, dW, space, uniform(5, n), rule)
            packed, after, _ = move_packed(weight.packed, counters, dW, space, 5, rule)
            moved = move(weight, dW, 5, rule, counters)
            assert torch.equal(place_of(weight, counters, bits, split), expected)
            assert torch.equal(packed, weight.packed)
            assert torch.equal(unpack_counters(after, bits, dW.shape), expected & (2**bits - 1))
            plain = transition(before, dW, space, uniform(5, n), TransitionRule(1.0, "linear", bits, split))
            states = [((cells >> bits) + 1) >> 1 if split else cells >> bits for cells in (before, plain, expected)]
            assert torch.equal(states[1] != states[0], states[2] != states[0])  # it decides how far, not whether
            assert moved == int((states[2] != states[0]).sum())
            assert half <= int(expected.min()) and int(expected.max()) < (cells << bits) - half


def test_weights_move_less_often_in_noise_and_as_far_with_a_gradient_that_stays():
    def trained(hysteresis: float, drift: float) -> tuple[float, float]:
        torch.manual_seed(0)
        net = nn.Sequential(Linear(100, 100, bias=False))
        optimizer = DST(net, 0.02, hysteresis=hysteresis, generator=torch.Generator().manual_seed(1))
        for _ in range(300):
            net[0].weight.grad = torch.randn(100, 100) - drift
            optimizer.step()
        (rate,) = optimizer.flip_rates().values()
        return rate, net[0].weight.dequantize(torch.float32).mean().item()

    (often, _), (seldom, _) = trained(0.0, 0.0), trained(0.125, 0.0)
    assert seldom < 0.6 * often
    assert trained(0.125, 1.0)[1] > 0.95


def test_a_saved_optimizer_goes_on_with_its_hysteresis_and_an_older_one_without():
    net = Linear(8, 8)
    state = DST(net, hysteresis=0.125).state_dict()
    optimizer = DST(net)
    optimizer.load_state_dict(copy.deepcopy(state))
    assert optimizer.param_groups[0]["hysteresis"] == 0.125
    del state["param_groups"][0]["hysteresis"]
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["hysteresis"] == 0.0
