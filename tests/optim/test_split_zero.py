"""Zero in two codes: ternary places twice as fine in the same memory, and nobody but the optimizer tells the two apart."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from gxnor import export
from gxnor.errors import WorkError
from gxnor.nn import Activation, Conv2d, DiscreteParameter, Linear, Pixels, integer_arithmetic
from gxnor.nn.codes import one_code, pack_indices
from gxnor.nn.stream import uniform
from gxnor.optim import DST, transition
from gxnor.optim.counter import new_counters, pack_counters
from gxnor.optim.transition import TransitionRule, move, move_packed
from gxnor.program import reference
from gxnor.space import DiscreteSpace
from gxnor.training import checkpoint
from tests.optim.places import place_of

TERNARY, DRAWS = DiscreteSpace(1), 100_000


def weight_of(codes: torch.Tensor, H: float = 1.0) -> DiscreteParameter:
    return DiscreteParameter(pack_indices(codes, 2), DiscreteSpace(1, H), codes.shape)


def random_codes(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(4, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def places(weight: DiscreteParameter, counters: torch.Tensor | None, bits: int) -> torch.Tensor:
    return place_of(weight, counters, bits, True)


@pytest.mark.parametrize("bits", [1, 4, 6])
def test_what_is_too_little_adds_up_to_a_move(bits):
    """From one end to the other by increments of one place: every place is visited once, and no draw matters."""
    weight = weight_of(torch.zeros(3, dtype=torch.uint8), H=2.0)
    counters, one, count = new_counters(weight, bits, True), 4.0 / 2 ** (bits + 2), 2 ** (bits + 2)
    rule = TransitionRule(1.0, "linear", bits, split_zero=True)
    seen, moves = [], []
    for step in range(count + 2):
        seen.append(weight.indices()[0].item())
        moves.append(move(weight, torch.full((3,), one), step, rule, counters))
    assert seen == [0] * 2**bits + [1] * 2 ** (bits + 1) + [2] * 2**bits + [2] * 2
    assert sum(moves) == 2 * 3  # each of three weights left -1, and left 0
    for step in range(count - 1):
        move(weight, torch.full((3,), -one), step, rule, counters)
    assert places(weight, counters, bits).tolist() == [0, 0, 0]


@pytest.mark.parametrize("dW", [-0.4, -0.013, 0.0021, 0.05, 0.3])
def test_the_linear_rule_moves_by_the_increment_in_expectation_and_half_as_roughly(dW):
    u = torch.rand(DRAWS, generator=torch.Generator().manual_seed(0))
    spread = {}
    for split, middle, one in ((False, 24, 1 / 16), (True, 31, 1 / 32)):
        place = torch.full((DRAWS,), middle, dtype=torch.uint8)
        after = transition(place, torch.full((DRAWS,), dW), TERNARY, u, TransitionRule(1.0, "linear", 4, split))
        moved = (after.double() - middle) * one
        assert abs(moved.mean() - dW) < 5 * one / math.sqrt(DRAWS)
        spread[split] = moved.std()
    if abs(dW) < 1 / 64:  # both moves are of one place or none
        assert spread[True] < 0.75 * spread[False]


@pytest.mark.parametrize("probability", ["tanh", "linear"])
@pytest.mark.parametrize("bits", [0, 1, 4, 6])
def test_native_and_other_devices_equal_the_reference(bits, probability, instruction_set):
    for n in (1, 2, 5, 8, 255, 256, 257, 1003):
        for scale in (0.02, 0.3, 20.0):
            draws = torch.Generator().manual_seed(n)
            weight = weight_of(random_codes(n, seed=n), H=0.3)
            counters = (
                pack_counters(torch.randint(2**bits, (n,), generator=draws).to(torch.uint8), bits) if bits else None
            )
            dW = scale * torch.randn(n, generator=draws)
            dW[::7] = 0.0
            before = places(weight, counters, bits)
            rule = TransitionRule(1.0, probability, bits, split_zero=True)
            expected = transition(before, dW, weight.space, uniform(5, n), rule)
            packed, after, counts = move_packed(weight.packed, counters, dW, weight.space, 5, rule)
            moved = move(weight, dW, 5, rule, counters)
            assert torch.equal(places(weight, counters, bits), expected)
            assert torch.equal(packed, weight.packed) and (not bits or torch.equal(after, counters))
            states = [((cells >> bits) + 1) >> 1 for cells in (before, expected)]
            assert counts.tolist() == [moved, 0] and moved == int((states[0] != states[1]).sum())
            assert torch.equal(weight.indices(), states[1])
            assert n % 4 == 0 or weight.packed[-1] >> 2 * (n % 4) == 0  # spare bits stay zero


def test_without_the_setting_both_zeros_are_one():
    codes = random_codes(1000)
    two, one = weight_of(codes), weight_of(torch.where(codes == 3, 1, codes))
    counters, dW = [new_counters(one, 4) for _ in range(2)], 0.3 * torch.randn(1000)
    for weight, own in zip((two, one), counters, strict=True):
        move(weight, dW, 5, TransitionRule(1.0, "linear", 4), own)
    assert torch.equal(two.packed, one.packed) and torch.equal(*counters)


def test_everybody_else_sees_one_zero():
    codes = random_codes(4, 3, 3, 3)
    weight, states = weight_of(codes), torch.where(codes == 3, 1, codes)
    assert torch.equal(weight.indices(), states)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        assert torch.equal(weight.dequantize(dtype), states.to(dtype) - 1)
    for again in (pickle.loads(pickle.dumps(weight)), copy.deepcopy(weight)):
        assert torch.equal(again.packed, weight.packed)
    assert torch.equal(one_code(weight.packed, TERNARY), pack_indices(states, 2))
    four = random_codes(40) * 5 % 16  # the codes of another space are as they were
    assert torch.equal(one_code(four, DiscreteSpace(3)), four)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Pixels(), Conv2d(3, 16, 3), nn.BatchNorm2d(16), Activation(), nn.Flatten(), Linear(16 * 16, 33), nn.BatchNorm1d(33),
        Activation(), Linear(33, 10), nn.BatchNorm1d(10),
    )  # fmt: skip


def train(net: nn.Module, optimizer: DST, steps: int) -> None:
    for step in range(steps):
        draws = torch.Generator().manual_seed(step)
        x = torch.randint(256, (8, 3, 6, 6), generator=draws, dtype=torch.uint8)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), torch.randint(10, (8,), generator=draws)).backward()
        optimizer.step()
    optimizer.zero_grad()


def test_integer_arithmetic_sees_one_zero():
    nets = network(), network()
    train(nets[0], DST(nets[0], 0.1, split_zero=True), 3)
    nets[1].load_state_dict(
        {name: t.dequantize() if isinstance(t, DiscreteParameter) else t for name, t in nets[0].state_dict().items()}
    )
    assert 2 in codes_in(nets[0]) and 2 not in codes_in(nets[1])
    for net in nets:
        with integer_arithmetic(key=1):
            net(torch.arange(8 * 108).view(8, 3, 6, 6).to(torch.uint8)).square().sum().backward()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def codes_in(net: nn.Module) -> set[int]:
    return {code for p in net.parameters() if isinstance(p, DiscreteParameter) for code in places(p, None, 0).tolist()}


def test_a_trained_network_exports_and_its_memory_is_that_of_the_same_counter():
    sizes = {}
    for split in (False, True):
        net = network()
        optimizer = DST(net, 0.1, split_zero=split)
        train(net, optimizer, 5)
        assert codes_in(net) == ({0, 1, 2, 3} if split else {0, 1, 3})  # cells: both halves of zero, or the first
        sizes[split] = [state["counter"].numel() for state in optimizer.state.values() if "counter" in state]
    assert sizes[True] == sizes[False]
    x = torch.randint(256, (50, 3, 6, 6), dtype=torch.uint8)
    program = export(net.eval(), (3, 6, 6), [str(i) for i in range(10)])
    assert (reference.run(program, x.numpy()).argmax(1) == net(x).argmax(1).numpy()).all()


def test_a_saved_run_goes_on_bit_for_bit():
    net = network()
    optimizer = DST(net, 0.1, split_zero=True, generator=torch.Generator().manual_seed(1))
    train(net, optimizer, 3)
    other = network()
    checkpoint.load_model_state(other, checkpoint.model_state(net))
    resumed = DST(other, 0.1, split_zero=True, generator=torch.Generator().manual_seed(1))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for run in ((net, optimizer), (other, resumed)):
        train(*run, 3)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(getattr(a, "packed", a), getattr(b, "packed", b))


def test_a_weight_that_starts_in_the_second_zero_starts_in_the_middle():
    weight = weight_of(torch.tensor([0, 1, 3, 2], dtype=torch.uint8))
    assert places(weight, new_counters(weight, 4, True), 4).tolist() == [0, 31, 32, 63]


@pytest.mark.parametrize("N, states", [(1, 3), (2, 5)])
def test_a_code_that_was_not_announced_is_damage(N, states):
    net = nn.Sequential(Linear(6, 4, N=N))
    state = checkpoint.model_state(net)
    state["0.weight"]["packed"] = torch.full_like(state["0.weight"]["packed"], 0xFF)
    with pytest.raises(WorkError, match=f"beyond the last of {states} states"):
        checkpoint.load_model_state(net, state)
    rebuild, given = net[0].weight.__reduce_ex__(2)
    with pytest.raises(ValueError, match=f"beyond the last of {states} states"):
        rebuild(state["0.weight"]["packed"], *given[1:])


def test_an_older_optimizers_state_has_no_split():
    net = network()
    state = DST(net, 0.1, split_zero=True).state_dict()
    for group in state["param_groups"]:
        del group["split_zero"]
    optimizer = DST(net, 0.1)
    optimizer.load_state_dict(state)
    train(net, optimizer, 1)
    assert codes_in(net) == {0, 1, 3}
