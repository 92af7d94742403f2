"""DST inside the backward pass: the same moves as a step after it, and one layer's gradient at a time."""

import copy
import functools
import gc
import math
import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from gxnor import optim
from gxnor.nn import Activation, Conv2d, DiscreteParameter, Linear

# The paper's rule, unless a test says otherwise.
DST = functools.partial(optim.DST, increment="adam", counter=0, m=3.0, probability="tanh")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Conv2d(1, 4, 3), nn.BatchNorm2d(4), Activation(), nn.Flatten(), Linear(64, 8), nn.BatchNorm1d(8), Activation(2),
        Linear(8, 3, bias=True),
    )  # fmt: skip


def optimizer_of(net: nn.Module, **settings) -> DST:
    return DST(net, 0.05, generator=torch.Generator().manual_seed(11), **settings)


def backward(net: nn.Module, step: int, size: int = 16) -> None:
    draws = torch.Generator().manual_seed(step)
    x, labels = torch.randn(size, 1, 6, 6, generator=draws), torch.randint(3, (size,), generator=draws)
    nn.functional.cross_entropy(net(x), labels).backward()


def train(net: nn.Module, optimizer: DST, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        optimizer.zero_grad()
        backward(net, step)
        optimizer.step()


def everything(net: nn.Module, optimizer: DST) -> list:
    """States, real numbers, and all that the optimizer holds."""
    tree = optimizer.state_dict()
    values = [tree["generator"], *(value for _, state in sorted(tree["state"].items()) for value in state.values())]
    values += [t.packed if isinstance(t, DiscreteParameter) else t for t in net.state_dict().values()]
    return [value.tolist() if isinstance(value, torch.Tensor) else value for value in values]


def discrete(net: nn.Module) -> list[DiscreteParameter]:
    return [p for p in net.parameters() if isinstance(p, DiscreteParameter)]


@pytest.mark.parametrize("rule", ["adam", "sgd", "factored"])
@pytest.mark.parametrize("inside", [False, True])
def test_what_shares_a_gradient_with_a_weight_gets_it_unchanged(rule, inside):
    torch.manual_seed(0)
    first, weight = nn.Linear(6, 12, bias=False), DiscreteParameter.random((4, 3), Linear(4, 3).weight.space)
    net = nn.Module()
    net.first, net.weight = first, weight
    optimizer = optimizer_of(net, increment=rule)
    if inside:
        optimizer.update_in_backward()
    seen = []
    first.weight.register_hook(lambda grad: seen.append(grad.clone()))
    y = first(torch.ones(1, 6)).view(3, 4) + weight.reshape(3, 4)
    expected = (3 * y.detach() ** 2).view(12, 1).expand(12, 6)
    (y**3).sum().backward()
    torch.testing.assert_close(seen[0], expected)


@pytest.mark.parametrize("rule", ["adam", "sgd", "factored"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_moves_are_those_of_a_step_after_the_backward_pass(rule, channels_last):
    runs = []
    for inside in (False, True):
        net = network()
        if channels_last:
            net.to(memory_format=torch.channels_last)
        optimizer = optimizer_of(net, increment=rule, counter=4 if rule == "factored" else 0)
        start = everything(net, optimizer)
        if inside:
            optimizer.update_in_backward()
        train(net, optimizer, 6)
        runs.append(everything(net, optimizer))
    assert runs[0] == runs[1] != start


def test_one_gradient_of_a_discrete_layer_is_alive():
    net = network()
    optimizer = optimizer_of(net)
    alive, most = [], []

    def reduce(grad):
        alive.append(weakref.ref(grad))
        most.append(sum(ref() is not None for ref in alive))
        del grad

    optimizer.update_in_backward(reduce)
    gc.disable()  # nothing may wait for a collection of cycles
    try:
        train(net, optimizer, 3)
    finally:
        gc.enable()
    assert most == [1] * 9
    assert all(ref() is None for ref in alive) and all(p.grad is None for p in discrete(net))


def test_layers_move_from_the_last_to_the_first_while_the_backward_pass_runs():
    net = network()
    optimizer = optimizer_of(net)
    order = []
    optimizer.update_in_backward(lambda grad: order.append((tuple(grad.shape), net[1].weight.grad is None)))
    train(net, optimizer, 1)
    assert order == [((3, 8), True), ((8, 64), True), ((4, 1, 3, 3), False)]


def test_reduce_changes_the_gradient_that_the_rule_sees():
    def run(scale, inside):
        net = network()
        optimizer = optimizer_of(net, increment="sgd")
        if inside:
            optimizer.update_in_backward(lambda grad: grad.mul_(scale))
        for step in range(4):
            optimizer.zero_grad()
            backward(net, step)
            if not inside:
                for p in discrete(net):
                    p.grad.mul_(scale)
            optimizer.step()
        return everything(net, optimizer)

    assert run(4, inside=True) == run(4, inside=False) != run(1, inside=False)


def test_accumulated_gradients_move_the_weights_once_by_their_sum():
    runs = []
    for inside in (False, True):
        net = network()
        optimizer = optimizer_of(net)
        if inside:
            optimizer.update_in_backward()
        for step in range(3):
            optimizer.zero_grad()
            before = [p.packed.clone() for p in discrete(net)]
            with optimizer.accumulating():
                backward(net, 10 * step)
                backward(net, 10 * step + 1)
            assert all(torch.equal(p.packed, was) for p, was in zip(discrete(net), before, strict=True))
            assert all(p.grad is not None for p in discrete(net))
            backward(net, 10 * step + 2)
            optimizer.step()
        runs.append(everything(net, optimizer))
    assert runs[0] == runs[1]


def test_a_layer_used_twice_moves_once_by_its_whole_gradient():
    runs = []
    for inside in (False, True):
        torch.manual_seed(0)
        shared = Linear(8, 8)
        net = nn.Sequential(shared, nn.BatchNorm1d(8), Activation(), shared)
        optimizer = optimizer_of(net)
        if inside:
            optimizer.update_in_backward()
        for step in range(4):
            optimizer.zero_grad()
            net(torch.randn(16, 8, generator=torch.Generator().manual_seed(step))).square().mean().backward()
            optimizer.step()
        runs.append(everything(net, optimizer))
    assert runs[0] == runs[1]


def several_uses(layer: nn.Module, x: torch.Tensor, use) -> torch.Tensor:
    for _ in range(3):
        x = nn.functional.hardtanh(use(layer, x))
    return x.square().mean()


USES = {
    "called": lambda layer, x: layer(x),
    "checkpointed": lambda layer, x: checkpoint(layer, x, use_reentrant=False),
    "summed": lambda layer, x: layer(x) + layer(x.flip(0)),
}


@pytest.mark.parametrize("use", USES)
def test_a_layer_used_several_times_in_a_graph_moves_as_by_the_plain_step(use):  # pytorch/pytorch#81296
    runs = []
    for inside in (False, True):
        torch.manual_seed(0)
        layer = Linear(8, 8)
        optimizer = optimizer_of(layer)
        if inside:
            optimizer.update_in_backward()
        for step in range(4):
            optimizer.zero_grad()
            x = torch.randn(16, 8, generator=torch.Generator().manual_seed(step)).requires_grad_()
            several_uses(layer, x, USES[use]).backward()
            optimizer.step()
        runs.append(everything(layer, optimizer))
    assert runs[0] == runs[1]


def test_one_reentrant_checkpoint_a_layer_moves_as_by_the_plain_step():  # pytorch/pytorch#81296
    runs = []
    for inside in (False, True):
        net = network()
        optimizer = optimizer_of(net)
        if inside:
            optimizer.update_in_backward()
        for step in range(3):
            optimizer.zero_grad()
            x = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(step)).requires_grad_()
            checkpoint(net[3:], checkpoint(net[:3], x, use_reentrant=True), use_reentrant=True).sum().backward()
            optimizer.step()
        runs.append(everything(net, optimizer))
    assert runs[0] == runs[1]


def twice(net, x):
    net(x).sum().backward()
    net(x).sum().backward()


SEVERAL_PASSES = {
    "reentrant checkpoints": lambda layer, x: several_uses(
        layer, x, lambda layer, x: checkpoint(layer, x, use_reentrant=True)
    ).backward(),
    "two backward passes": twice,
    "two losses": lambda layer, x: [loss.backward() for loss in (layer(x).sum(), layer(-x).square().sum())],
}


@pytest.mark.parametrize("kind", SEVERAL_PASSES)
def test_a_second_gradient_in_a_step_is_refused_and_not_a_second_move(kind):  # pytorch/pytorch#81296
    layer = Linear(8, 8)
    optimizer = optimizer_of(layer)
    optimizer.update_in_backward()
    x = torch.randn(16, 8).requires_grad_()
    # what torch says where the second graph was made before the first one's backward pass moved the weight
    by_torch = "modified by an inplace operation"
    with pytest.raises(
        RuntimeError, match=f"parameter weight has moved in this step already.*use_reentrant|{by_torch}"
    ):
        SEVERAL_PASSES[kind](layer, x)
    optimizer.zero_grad()
    optimizer.step()  # ends it
    layer(x).sum().backward()


def test_gradients_that_were_made_by_hand_move_as_by_the_plain_step():  # pytorch/pytorch#81296
    runs = []
    for inside in (False, True):
        net = network()
        optimizer = optimizer_of(net)
        if inside:
            optimizer.update_in_backward()
        for step in range(3):
            optimizer.zero_grad()
            x = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(step))
            if step == 1:  # given to the parameters, and nothing is left to the backward pass
                for p, grad in zip(net.parameters(), torch.autograd.grad(net(x).sum(), net.parameters()), strict=True):
                    p.grad = grad
            else:  # added to by the backward pass
                for p in net.parameters():
                    p.grad = torch.ones(p.shape)
                net(x).sum().backward()
            optimizer.step()
        runs.append(everything(net, optimizer))
    assert runs[0] == runs[1]


def test_it_can_be_undone_and_done_again():
    net, plain = network(), network()
    optimizer, reference = optimizer_of(net), optimizer_of(plain)
    train(net, optimizer, 1)
    with optimizer.update_in_backward():
        train(net, optimizer, 1, first=1)
        with pytest.raises(RuntimeError, match="already"):
            optimizer.update_in_backward()
    train(net, optimizer, 1, first=2)
    assert all(p.grad is not None for p in discrete(net))
    optimizer.update_in_backward()
    train(net, optimizer, 1, first=3)
    assert all(p.grad is None for p in discrete(net))
    train(plain, reference, 4)
    assert everything(net, optimizer) == everything(plain, reference)


def test_new_rates_loaded_states_and_frozen_weights_are_respected():
    runs = []
    for inside in (False, True):
        net = network()
        net[4].weight.requires_grad_(False)
        optimizer = optimizer_of(net)
        if inside:
            optimizer.update_in_backward()
        train(net, optimizer, 2)
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # the groups are new dicts now
        net.load_state_dict(copy.deepcopy(net.state_dict()))
        optimizer.param_groups[0]["lr"] = 0.3
        train(net, optimizer, 2, first=2)
        runs.append(everything(net, optimizer))
    assert runs[0] == runs[1]


def test_a_copied_run_moves_after_the_backward_pass_and_goes_on_the_same():
    net = network()
    optimizer = optimizer_of(net)
    optimizer.update_in_backward()
    train(net, optimizer, 2)
    twin, its_optimizer = copy.deepcopy((net, optimizer))
    train(net, optimizer, 2, first=2)
    train(twin, its_optimizer, 2, first=2)
    assert everything(net, optimizer) == everything(twin, its_optimizer)
    assert all(p.grad is not None for p in discrete(twin))


@pytest.mark.parametrize(
    "name, consequence", [("7.weight", "no weight was moved"), ("0.weight", "other weights have moved already")]
)
def test_a_gradient_that_is_not_finite_is_named_with_what_has_moved(name, consequence):
    net = network()
    optimizer = optimizer_of(net)
    wrong = dict(net.named_parameters())[name]
    optimizer.update_in_backward(lambda grad: grad.fill_(math.nan) if grad.shape == wrong.shape else None)
    before = {p: p.packed.clone() for p in discrete(net)}
    with pytest.raises(FloatingPointError, match=f"parameter {name} is not finite; {consequence}"):
        backward(net, 0)
    assert torch.equal(wrong.packed, before[wrong])
    assert torch.equal(net[4].weight.packed, before[net[4].weight]) == (name == "7.weight")


def test_a_real_gradient_that_is_not_finite_is_found_by_the_step():
    net = network()
    optimizer = optimizer_of(net)
    optimizer.update_in_backward()
    backward(net, 0)
    net[7].bias.grad[0] = math.inf
    with pytest.raises(FloatingPointError, match=r"7\.bias is not finite; other weights have moved already"):
        optimizer.step()
