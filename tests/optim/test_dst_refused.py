"""What DST refuses, and that nothing has changed then."""

import copy
import math

import pytest
import torch

from tests.optim.nets import DST, bits, equal, generator, network, real, train


def test_a_parameter_that_nobody_claims_is_named():
    net = network()
    with pytest.raises(ValueError, match=r"no parameter group claims 4\.weight, 7\.bias; pass them too"):
        DST([p for name, p in net.named_parameters() if name not in ("4.weight", "7.bias")], model=net)
    net[4].weight.requires_grad_(False)
    net[7].bias.requires_grad_(False)
    DST([p for p in net.parameters() if p.requires_grad], model=net)
    DST(net.parameters(), model=net)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"lr": -1.0}, "lr must be"),
        ({"lr": math.nan}, "lr must be"),
        ({"lr": math.inf}, "lr must be"),
        ({"increment": "adagrad"}, "increment must be one of factored, adam, sgd, got 'adagrad'"),
        ({"betas": (1.0, 0.999)}, "betas must be two numbers"),
        ({"betas": (0.9, -0.1)}, "betas must be two numbers"),
        ({"betas": (0.9,)}, "betas must be two numbers"),
        ({"eps": 0.0}, "eps must be"),
        ({"split_zero": 1}, "split_zero must be True or False, got 1"),
        ({"hysteresis": -0.1}, "hysteresis must be a number from 0 to 0.5"),
        ({"hysteresis": 0.6}, "hysteresis must be a number from 0 to 0.5"),
        ({"hysteresis": math.nan}, "hysteresis must be a number from 0 to 0.5"),
        ({"hysteresis": "much"}, "hysteresis must be a number from 0 to 0.5, in steps between states, got 'much'"),
        ({"hysteresis": None}, "hysteresis must be a number from 0 to 0.5"),
        ({"hysteresis": True}, "hysteresis must be a number from 0 to 0.5"),
        ({"m": 0.0}, "m must be"),
        ({"probability": "sigmoid"}, "probability must be one of tanh, linear"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        DST([real(1.0)], **settings)
    optimizer = DST([real(1.0)])
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [real(2.0)], **settings})
    assert len(optimizer.param_groups) == 1


def test_another_generator_is_refused():
    with pytest.raises(ValueError, match="on the CPU, got 7"):
        DST([real(1.0)], generator=7)


def test_the_state_of_another_optimizer_is_refused():
    p = real(1.0)
    with pytest.raises(ValueError, match="expected the state of a DST optimizer"):
        DST([p]).load_state_dict(torch.optim.Adam([p]).state_dict())


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["0.weight", "5.bias", "7.weight"])
def test_a_gradient_that_is_not_finite_is_named_and_nothing_changes(name, wrong):
    net = network()
    optimizer = DST(net, 0.05, generator=generator())
    train(net, optimizer, 2)
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    dict(net.named_parameters())[name].grad.view(-1)[-1] = wrong
    weights = [t.clone() for t in bits(net)]
    state = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(
        FloatingPointError, match=f"the gradient of parameter {name} is not finite; no weight was moved"
    ):
        optimizer.step()
    assert equal(bits(net), weights)
    after = optimizer.state_dict()
    assert torch.equal(after["generator"], state["generator"])
    for key, values in state["state"].items():
        for entry, value in values.items():
            now = after["state"][key][entry]
            assert torch.equal(now, value) if isinstance(value, torch.Tensor) else now == value


def test_a_parameter_without_a_name_is_told_by_its_number():
    a, b = real(1.0), real(2.0)
    a.grad, b.grad = torch.ones(1), torch.full((1,), math.nan)
    with pytest.raises(FloatingPointError, match="gradient of parameter 1 is"):
        DST([a, b]).step()


@pytest.mark.parametrize("rule", ["factored", "adam", "sgd"])
@pytest.mark.parametrize("name", ["0.weight", "1.bias", "7.weight"])
@pytest.mark.parametrize("size", [1e20, 3e38, -1e25])
def test_a_gradient_whose_square_overflows_is_named_and_the_next_steps_are_not_touched(name, size, rule):
    net, reference = network(), network()
    optimizers = [DST(n, 0.05, increment=rule, generator=generator()) for n in (net, reference)]
    for n, optimizer in zip((net, reference), optimizers, strict=True):
        train(n, optimizer, 2)
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    dict(net.named_parameters())[name].grad.view(-1)[0] = size
    with pytest.raises(FloatingPointError, match=f"gradient of parameter {name} is too large: .*no weight was moved"):
        optimizers[0].step()
    for n, optimizer in zip((net, reference), optimizers, strict=True):
        train(n, optimizer, 3)
    assert equal(bits(net), bits(reference))


def test_gradients_that_only_together_overflow_are_refused():
    p = real(*[0.0] * 100)
    p.grad = torch.full((100,), 3e18)
    with pytest.raises(FloatingPointError, match="parameter 0 is too large: squares, up to 3e\\+18\\^2"):
        DST([p], 0.1).step()
    p.grad.fill_(3e17)
    DST([p], 0.1).step()
    assert (p < 0).all()


@pytest.mark.parametrize("inside", [False, True], ids=["step", "update_in_backward"])
@pytest.mark.parametrize("number", [0, 2])
def test_after_a_refused_batch_the_running_statistics_are_those_before_it(number, inside):
    net = network()
    optimizer = DST(net, 0.05, generator=generator())
    if inside:
        optimizer.update_in_backward()
    train(net, optimizer, number)
    optimizer.zero_grad()
    before = [b.clone() for b in net.buffers()]
    with pytest.raises(FloatingPointError, match=r"running statistics are those of the last zero_grad\(\) or step\(\)"):
        net(torch.full((4, 1, 6, 6), math.nan)).sum().backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), before, strict=True))
    train(net, optimizer, 1)
    assert all(torch.isfinite(t).all() for t in net.buffers())
