"""DST as a torch optimizer."""

import copy
import math

import pytest
import torch
from torch import nn

from gxnor.nn import Activation, Conv2d, DiscreteParameter, Linear
from gxnor.optim import increment
from tests.optim.nets import DST, bits, equal, generator, network, real, train


@pytest.mark.parametrize("rule, lr", [("adam", 0.02), ("sgd", 1.0)])
def test_a_ternary_network_learns(rule, lr):
    torch.manual_seed(0)
    net = nn.Sequential(Linear(20, 64), nn.BatchNorm1d(64), Activation(), Linear(64, 4), nn.BatchNorm1d(4))
    optimizer = DST(net, lr, increment=rule, generator=generator())
    centres = torch.randn(4, 20)
    for _ in range(150):
        labels = torch.randint(4, (64,))
        loss = nn.functional.cross_entropy(net(centres[labels] + 0.5 * torch.randn(64, 20)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    labels = torch.randint(4, (500,))
    with torch.no_grad():
        accuracy = (net(centres[labels] + 0.5 * torch.randn(500, 20)).argmax(1) == labels).float().mean()
    assert accuracy > 0.95
    assert net[0].weight.dequantize().unique().tolist() == [-1, 0, 1]


def test_is_an_optimizer_of_torch():
    net = network()
    optimizer = DST(net)
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert [id(p) for group in optimizer.param_groups for p in group["params"]] == [id(p) for p in net.parameters()]


@pytest.mark.parametrize("rule, bytes_per_weight", [("adam", 8), ("sgd", 4)])
def test_memory_of_the_increments(rule, bytes_per_weight):
    net = nn.Sequential(nn.Flatten(), Linear(36, 64))
    optimizer = DST(net, increment=rule)
    train(net, optimizer, 2)
    tensors = [t for t in optimizer.state[net[1].weight].values() if isinstance(t, torch.Tensor)]
    assert sum(t.numel() * t.element_size() for t in tensors) == bytes_per_weight * 64 * 36


@pytest.mark.parametrize(
    "lr, betas, eps", [(1e-3, (0.9, 0.999), 1e-8), (0.1, (0.5, 0.9), 1e-3), (0.01, (0.0, 0.99), 1e-8)]
)
def test_real_parameters_follow_torchs_adam(lr, betas, eps):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3))
    theirs = copy.deepcopy(ours)
    optimizers = DST(ours, lr, betas=betas, eps=eps), torch.optim.Adam(theirs.parameters(), lr, betas, eps)
    for step in range(30):
        x = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(step))
        theirs(x).square().mean().backward()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.grad = q.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-6)


def test_sgd_is_a_moving_average_with_its_bias_corrected():
    p, beta, lr = real(1.0, -2.0, 0.5), 0.8, 0.1
    optimizer = DST([p], lr, increment="sgd", betas=(beta, 0.0))
    expected, average = p.detach().double(), torch.zeros(3, dtype=torch.float64)
    for t in range(1, 20):
        p.grad = torch.randn(3, generator=torch.Generator().manual_seed(t))
        average = beta * average + (1 - beta) * p.grad.double()
        expected = expected - lr * average / (1 - beta**t)
        optimizer.step()
        torch.testing.assert_close(p.detach().double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_a_constant_gradient_gives_constant_increments_while_the_betas_change(rule):
    grad, state = torch.tensor([0.3, -2.0, 1e-3]), {}
    for t in range(200):
        betas = (0.9 + 0.0999 * t / 200, 0.9 + 0.099 * abs(math.sin(t)))
        dW = increment.RULES[rule](grad, state, {"lr": 0.25, "betas": betas, "eps": 1e-12})
        torch.testing.assert_close(dW, -0.25 * (grad.sign() if rule == "adam" else grad), rtol=1e-4, atol=0)


def test_groups_have_their_own_settings():
    net = network()
    frozen, moving = net[0].weight, net[4].weight
    optimizer = DST(
        [{"params": [frozen], "lr": 0.0}, {"params": [moving], "lr": 10.0, "increment": "sgd", "m": 1.0}],
        generator=generator(),
    )
    before = [frozen.packed.clone(), moving.packed.clone()]
    train(net, optimizer, 3)
    assert torch.equal(frozen.packed, before[0]) and not torch.equal(moving.packed, before[1])
    assert "exp_avg_sq" in optimizer.state[frozen] and "exp_avg_sq" not in optimizer.state[moving]


def test_schedulers_of_torch_set_the_rate():
    p = real(0.0)
    optimizer = DST([p], 1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    for rate in (1.0, 0.5, 0.25):
        before = p.item()
        p.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
        assert p.item() - before == pytest.approx(-rate, rel=1e-6)


def test_one_cycle_moves_rate_and_momentum():
    optimizer = DST([real(0.0)], 0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    seen = set()
    for _ in range(9):
        optimizer.step()
        scheduler.step()
        seen.add(optimizer.param_groups[0]["betas"])
    assert len(seen) > 5 and all(0.84 < beta1 < 0.96 and beta2 == 0.999 for beta1, beta2 in seen)


def test_parameters_may_come_in_every_form_torch_takes():
    for form in (
        lambda net: net.parameters(),
        lambda net: net.named_parameters(),
        lambda net: [{"params": net[:3].parameters()}, {"params": net[3:].parameters()}],
        lambda net: [{"params": list(net[:3].named_parameters("a"))}, {"params": list(net[3:].named_parameters("b"))}],
    ):
        net, same = network(), network()
        train(net, DST(form(net), generator=generator()), 3)
        train(same, DST(same, generator=generator()), 3)
        assert equal(bits(net), bits(same))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rule", ["factored", "adam", "sgd"])
def test_gradients_of_short_types_are_averaged_in_float32(dtype, rule):
    """A square of 300 overflows float16, an eps of 1e-8 underflows it, and 1 - 0.999 is lost in bfloat16."""
    grads = torch.tensor([[300.0, 0.0], [-2.0, 1e-3]])
    moves = []
    for kind in (torch.float32, dtype):
        p = nn.Parameter(torch.zeros(2, 2, dtype=kind))
        optimizer = DST([p], 0.01, increment=rule, eps=1e-8)
        for _ in range(20):
            p.grad = grads.to(dtype).to(kind)
            optimizer.step()
        assert all(v.dtype == torch.float32 for v in optimizer.state[p].values() if isinstance(v, torch.Tensor))
        moves.append(p.detach().float())
    torch.testing.assert_close(*moves, rtol=0.05, atol=1e-3)


def test_gradients_accumulate_until_the_step():
    inputs = torch.randint(-3, 4, (2, 8, 1, 6, 6), generator=torch.Generator().manual_seed(0)).float()  # exact sums
    runs = []
    for parts in (inputs.unbind(0), [inputs.flatten(0, 1)]):
        torch.manual_seed(0)
        net = nn.Sequential(Conv2d(1, 4, 3), nn.Flatten(), Linear(64, 3))
        optimizer = DST(net, 0.3, generator=generator())
        for part in parts:
            net(part).sum().backward()
        optimizer.step()
        runs.append(bits(net))
    assert equal(*runs)


def test_frozen_and_unused_parameters_stay_and_do_not_disturb_the_others():
    net, reference = network(), network()
    net[4].weight.requires_grad_(False)
    before = net[4].weight.packed.clone()
    ours, theirs = DST(net, 0.05, generator=generator()), DST(reference, 0.05, generator=generator())
    for p, q in zip(net.parameters(), reference.parameters(), strict=True):
        q.grad = torch.ones_like(q)
        p.grad = torch.ones_like(p) if p.requires_grad else None
    ours.step()
    theirs.step()
    assert torch.equal(net[4].weight.packed, before) and not ours.state[net[4].weight]
    for i, (p, q) in enumerate(zip(bits(net), bits(reference), strict=True)):
        assert torch.equal(p, q) == (list(net.state_dict())[i] != "4.weight")


def test_closure_is_run_with_gradients_and_its_loss_returned():
    net = network()
    optimizer = DST(net, 0.05, generator=generator())
    before = bits(net)[0].clone()

    def closure():
        optimizer.zero_grad()
        loss = net(torch.ones(4, 1, 6, 6)).square().mean() + sum(p.sum() for p in net.parameters())
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss.requires_grad and not torch.equal(bits(net)[0], before)
    assert DST([real(1.0)]).step() is None


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_are_cleared(set_to_none):
    net = network()
    optimizer = DST(net)
    train(net, optimizer, 1)
    optimizer.zero_grad(set_to_none=set_to_none)
    for p in net.parameters():
        assert p.grad is None if set_to_none else (p.grad == 0).all()


def test_flip_rates_are_the_share_of_weights_that_moved():
    net = network()
    optimizer = DST(net, 0.05, generator=generator())
    assert optimizer.flip_rates() == {}
    weights = [p for p in net.parameters() if isinstance(p, DiscreteParameter)]
    moved = dict.fromkeys(weights, 0)
    for step in range(6):
        before = [w.indices() for w in weights]
        train(net, optimizer, 1, first=step)
        for w, was in zip(weights, before, strict=True):
            moved[w] += (w.indices() != was).sum().item()
    rates = optimizer.flip_rates()
    assert rates == {w: count / (6 * w.numel()) for w, count in moved.items()} and all(moved.values())
    assert optimizer.flip_rates() == {}  # counted anew


def test_no_rate_no_flips():
    net = network()
    optimizer = DST(net, 0.0)
    train(net, optimizer, 2)
    assert set(optimizer.flip_rates().values()) == {0.0}
