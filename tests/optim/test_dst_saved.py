"""Runs of DST that are saved, copied and seeded go on bit for bit."""

import copy

import pytest
import torch
from torch import nn

from tests.optim.nets import DST, bits, equal, generator, network, saved, train


def test_the_generator_decides_the_moves():
    runs = {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        net = network()
        train(net, DST(net, 0.05, generator=generator(seed)), 4)
        runs[name] = bits(net)
    assert equal(runs["one"], runs["again"]) and not equal(runs["one"], runs["other"])


def test_without_a_generator_the_global_seed_decides():
    runs = []
    for seed in (5, 5, 6):
        net = network()
        torch.manual_seed(seed)
        optimizer = DST(net, 0.05)
        torch.manual_seed(0)
        train(net, optimizer, 4)
        runs.append(bits(net))
    assert equal(runs[0], runs[1]) and not equal(runs[0], runs[2])


@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_a_saved_run_goes_on_bit_for_bit(rule):
    net = network()
    optimizer = DST(net, 0.05, increment=rule, generator=generator())
    train(net, optimizer, 5)
    files = saved(net.state_dict()), saved(optimizer.state_dict())
    train(net, optimizer, 5, first=5)

    other = network(seed=1)
    resumed = DST(other, 0.9, increment="sgd", generator=generator(99))
    other.load_state_dict(files[0])
    resumed.load_state_dict(files[1])
    train(other, resumed, 5, first=5)
    assert equal(bits(net), bits(other))
    assert torch.equal(optimizer.generator.get_state(), resumed.generator.get_state())
    assert optimizer.param_groups[0]["lr"] == resumed.param_groups[0]["lr"] == 0.05
    assert list(optimizer.flip_rates().values()) == list(resumed.flip_rates().values())


def test_a_copied_run_goes_on_bit_for_bit():
    net = network()
    optimizer = DST(net, 0.05, generator=generator())
    train(net, optimizer, 3)
    twin, its_optimizer = copy.deepcopy((net, optimizer))
    train(net, optimizer, 3, first=3)
    train(twin, its_optimizer, 3, first=3)
    assert equal(bits(net), bits(twin))


def test_the_memory_of_short_types_is_loaded_as_it_was_saved():
    p = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer, twin = DST([p]), DST([p])
    p.grad = torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)
    optimizer.step()
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for key in ("exp_avg", "exp_avg_sq"):
        before, after = optimizer.state[p][key], twin.state[p][key]
        assert after.dtype == torch.float32 and torch.equal(before, after)
