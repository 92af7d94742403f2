"""DST as a torch optimizer."""

import copy
import functools
import io
import math

import pytest
import torch
from torch import nn

from gxnor import optim
from gxnor.nn import Activation, Conv2d, DiscreteParameter, Linear
from gxnor.optim import increment

# The paper's rule, unless a test says otherwise.
DST = functools.partial(optim.DST, increment="adam", counter=0, m=3.0, probability="tanh")

SEED = 11


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        Conv2d(1, 4, 3), nn.BatchNorm2d(4), Activation(), nn.Flatten(), Linear(64, 8), nn.BatchNorm1d(8), Activation(2),
        Linear(8, 3, bias=True),
    )  # fmt: skip


def generator(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        draws = torch.Generator().manual_seed(step)
        x, labels = torch.randn(16, 1, 6, 6, generator=draws), torch.randint(3, (16,), generator=draws)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()


def bits(net: nn.Module) -> list[torch.Tensor]:
    return [t.packed if isinstance(t, DiscreteParameter) else t for t in net.state_dict().values()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(s, t) for s, t in zip(a, b, strict=True))


def saved(obj):
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def real(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


# --- it learns, and only by moving states ---


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


# --- increments ---


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


# --- groups, schedules, names ---


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


# --- seeds, saving and going on ---


def test_another_generator_is_refused():
    with pytest.raises(ValueError, match="on the CPU, got 7"):
        DST([real(1.0)], generator=7)


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


def test_the_state_of_another_optimizer_is_refused():
    p = real(1.0)
    with pytest.raises(ValueError, match="expected the state of a DST optimizer"):
        DST([p]).load_state_dict(torch.optim.Adam([p]).state_dict())


# --- gradients ---


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


def test_the_memory_of_short_types_is_loaded_as_it_was_saved():
    p = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer, twin = DST([p]), DST([p])
    p.grad = torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)
    optimizer.step()
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for key in ("exp_avg", "exp_avg_sq"):
        before, after = optimizer.state[p][key], twin.state[p][key]
        assert after.dtype == torch.float32 and torch.equal(before, after)


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


# --- flip rates ---


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
