"""Blocks that run as one in integer arithmetic: the block beside its layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gxnor import native
from gxnor.nn import Activation, Conv1d, Conv2d, Linear, Sequential, integer_arithmetic, network
from gxnor.nn import integer_kernels as kernels
from gxnor.nn.activation import phi_reference, window_reference
from gxnor.nn.integer_block import Phi
from gxnor.nn.precision import Precision
from gxnor.nn.residual import Residual

BLOCKS = {
    "2d, pooled": lambda: ([Conv2d(3, 5, 3, padding=1), nn.MaxPool2d(2)], states(6, 3, 8, 9)),
    "2d": lambda: ([Conv2d(4, 6, (3, 2), (2, 1), 1, 1, 2)], states(5, 4, 7, 9)),
    "1d": lambda: ([Conv1d(4, 6, 3)], states(4, 4, 9)),
    "dense": lambda: ([Linear(40, 7)], states(30, 40)),
    "pixels": lambda: ([Conv2d(1, 4, 5), nn.MaxPool2d(2, 3, 1)], 2 * states(3, 1, 13, 12, top=127) + 1),
    "latent, five states": lambda: ([Conv2d(3, 5, 3, N=2, H=2, latent=True)], states(4, 3, 7, 6, top=2) / 2),
}


def states(*shape, top=1):
    return torch.randint(-top, top + 1, shape).float()


def make(name, of=Sequential, N=1, channels_last=True, **settings):
    torch.manual_seed(0)
    layers, x = BLOCKS[name]()
    outputs = layers[0].weight.shape[0]
    norm = nn.BatchNorm2d(outputs, **settings) if x.dim() == 4 else nn.BatchNorm1d(outputs, **settings)
    nn.init.uniform_(norm.weight, -1.5, 1.5)
    nn.init.uniform_(norm.bias, -0.5, 0.5)
    net = of(*layers, norm, Activation(N))
    if channels_last and x.dim() == 4:
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    return net, x.requires_grad_()


def run(net, x, key=3, seed=1):
    with integer_arithmetic(8, key=key, model=net) as arithmetic:
        y = net(x)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    net.zero_grad()
    (dx,) = torch.autograd.grad(y, x, dy, retain_graph=True)
    y.backward(dy, inputs=list(net.parameters()))
    return arithmetic, y.detach(), [dx, *(p.grad for p in net.parameters())], [b.clone() for b in net.buffers()]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("N", [0, 1, 3])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_does_what_its_layers_do(name, N, channels_last, implementation):
    """Up to the last bits of batch norm, which may lead over a step of phi or of the rounding."""
    arithmetic, y, gradients, buffers = run(*make(name, N=N, channels_last=channels_last))
    assert [what for _, what in arithmetic.layers] == ["integer"]
    _, expected, others, statistics = run(*make(name, nn.Sequential, N, channels_last))
    assert (y == expected).float().mean() > 0.995
    for a, b in zip(gradients, others, strict=True):
        assert a.shape == b.shape and (a - b).norm() < 0.02 * b.norm()
    for a, b in zip(buffers, statistics, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(native.library() is None, reason="the native library is not built")
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_gives_the_same_bits_without_kernels_and_on_any_number_of_threads(name, monkeypatch):
    results, threads = [], torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        results.append(run(*make(name)))
    torch.set_num_threads(threads)
    monkeypatch.setattr(native, "library", lambda: None)
    results.append(run(*make(name)))
    for _, y, gradients, buffers in results[1:]:
        for a, b in zip([y, *gradients, *buffers], [results[0][1], *results[0][2], *results[0][3]], strict=True):
            assert torch.equal(a, b)


def test_gradients_are_those_of_batch_norm_and_the_window(implementation):
    """Beside autograd in float64, with 8 bits per channel: the rounding moves dS by less than a step of its scale."""
    net, x = make("2d, pooled")
    layer, _, norm, activation = net
    phi = Phi(*activation.settings())
    w = layer.weight.detach().double().contiguous()
    sums = F.max_pool2d(F.conv2d(x.detach().double(), w, padding=1), 2).requires_grad_()
    z = F.batch_norm(sums, None, None, norm.weight.double(), norm.bias.double(), True, eps=norm.eps)
    _, y, (_, _, dgamma, dbeta), _ = run(net, x)
    assert torch.equal(y, phi_reference(z.detach(), phi.N, phi.r, phi.H).float())
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).double()
    slope = window_reference(z.detach(), phi.N, phi.r, phi.H, phi.a, phi.window)
    ds, wanted_gamma, wanted_beta = torch.autograd.grad(z, [sums, norm.weight, norm.bias], dy * slope)
    torch.testing.assert_close(dgamma, wanted_gamma.float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dbeta, wanted_beta.float(), rtol=1e-5, atol=1e-5)

    rounded = []
    original = kernels.block_round
    kernels.block_round = lambda *a: rounded.append(original(*a)) or rounded[-1]
    try:
        run(*make("2d, pooled"))
    finally:
        kernels.block_round = original
    (q, scale), (other, scales) = rounded[0], rounded[-1]
    wanted = ds.permute(0, 2, 3, 1)
    assert ((q * scale.view(-1, 1, 1, 1) - wanted).abs() < 1.01 * scale.view(-1, 1, 1, 1)).all()
    assert ((other * scales - wanted).abs() < 1.01 * scales).all()


def test_running_statistics_are_those_of_the_sums(implementation):
    for momentum in (0.25, None):
        net, x = make("2d", momentum=momentum)
        norm = net[1]
        norm.running_mean.fill_(3.0)
        w = net[0].weight.detach().double().contiguous()
        sums = F.conv2d(x.detach().double(), w, None, (2, 1), 1, 1, 2)
        share = 1.0 if momentum is None else 0.25
        run(net, x)
        mean, var = sums.mean((0, 2, 3)), sums.var((0, 2, 3))
        assert torch.equal(norm.running_mean, ((1 - share) * 3.0 + share * mean).float())
        torch.testing.assert_close(norm.running_var, ((1 - share) + share * var).float(), rtol=1e-6, atol=0)
        assert norm.num_batches_tracked == 1


APART = {
    "a hook": (lambda net: net[2].register_forward_hook(lambda *_: None), "hook"),
    "evaluation": (lambda net: net.eval(), "training"),
    "no weight": (lambda net: setattr(net, "2", nn.BatchNorm2d(5, affine=False)), "weight"),
    "overlapping windows": (lambda net: setattr(net, "1", nn.MaxPool2d(3, 2)), "overlap"),
    "a bias": (lambda net: setattr(net, "0", Conv2d(3, 5, 3, bias=True)), "bias"),
    "large sums": (lambda net: setattr(net, "0", Conv2d(3, 5, 3, N=7)), "16 bits"),
    "no block": (lambda net: setattr(net, "3", nn.ReLU()), ""),
}


@pytest.mark.parametrize("change, reason", APART.values(), ids=APART)
def test_what_is_no_block_runs_as_its_layers_and_says_why(change, reason):
    results = []
    for of in (Sequential, nn.Sequential):
        net, x = make("2d, pooled", of)
        if reason == "16 bits":
            x = (x.detach() * 64 + 1).requires_grad_()
        change(net)
        results.append(run(net, x))
    (arithmetic, y, gradients, buffers), (_, *expected) = results
    ((_, what),) = arithmetic.layers
    assert what.startswith("integer") and (reason in what if reason else what == "integer")
    assert torch.equal(y, expected[0])
    for a, b in zip([*gradients, *buffers], [*expected[1], *expected[2]], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("N", [0, 1, 3])
def test_what_lies_between_two_blocks_is_there_for_whoever_reads_it(N):
    results, seen = {}, []
    for how in ("in a row", "in containers", "with a hook"):
        torch.manual_seed(0)
        first = [Conv2d(3, 5, 3), nn.BatchNorm2d(5), Activation(N)]
        second = [Conv2d(5, 4, 3), nn.BatchNorm2d(4), Activation(N)]
        if how == "with a hook":
            second[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
        containers = [Sequential(*first), Sequential(*second)] if how == "in containers" else [*first, *second]
        results[how] = run(Sequential(*containers), states(6, 3, 8, 9).requires_grad_())
    (_, y, gradients, buffers), (_, *others), (_, apart, _, statistics) = results.values()
    for a, b in zip([y, *gradients, *buffers], [others[0], *others[1], *others[2]], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(statistics[0], buffers[0]) and set(seen[0].unique().tolist()) <= set(
        first[2].space.values.tolist()
    )
    assert (apart == y).float().mean() > 0.98


@pytest.mark.parametrize("shortcuts", [0, 4])
@pytest.mark.parametrize("notation", ["5R3", "6D3"])
def test_a_residual_block_runs_its_first_layers_as_one(notation, shortcuts, implementation):
    results = []
    for apart in (False, True):
        torch.manual_seed(0)
        net = network(f"5C3-{notation}-AP-3", (3, 8, 9), Precision(shortcuts=shortcuts), padding="same")
        (block,) = [m for m in net.modules() if isinstance(m, Residual)]
        if apart:
            block.act1.register_forward_hook(lambda *_: None)
        results.append(run(block, states(6, 5, 8, 9).requires_grad_()))
    (arithmetic, y, gradients, buffers), (with_hook, expected, others, statistics) = results
    assert {what for _, what in arithmetic.layers} == {"integer"} and "a hook" in with_hook.layers[0][1]
    assert (y == expected).float().mean() > 0.98
    for a, b in zip(gradients, others, strict=True):
        assert a.shape == b.shape and (a - b).norm() < 0.05 * b.norm()
    for a, b in zip(buffers, statistics, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)


def test_a_real_input_is_left_to_the_layers():
    net, x = make("2d")
    real = torch.randn(x.shape).requires_grad_()
    arithmetic, y, *_ = run(net, real)
    assert arithmetic.layers[0][1].startswith("float: its input") and len(arithmetic.layers) == 1
    assert torch.equal(y, make("2d", nn.Sequential)[0](real))


def test_without_integer_arithmetic_it_is_torch_s_own():
    net, x = make("2d, pooled")
    expected = make("2d, pooled", nn.Sequential)[0]
    assert torch.equal(net(x), expected(x)) and list(net.state_dict()) == list(expected.state_dict())


@pytest.mark.parametrize("training", [False, True])
def test_inference_mode_gives_what_layers_on_their_own_give(training):
    torch.manual_seed(0)
    layers = [Conv2d(3, 5, 3), nn.BatchNorm2d(5), Activation(), Conv2d(5, 4, 3), nn.BatchNorm2d(4), Activation()]
    net, x = Sequential(*layers).train(training), states(6, 3, 8, 9)
    with torch.no_grad():
        expected = nn.Sequential(*layers)(x)
    with torch.inference_mode(), integer_arithmetic(key=0) as arithmetic:
        assert torch.equal(net(x), expected)
    assert all(what.startswith("integer") for _, what in arithmetic.layers) and len(arithmetic.layers) == 2


def test_states_that_were_written_to_are_looked_at_again():
    net, x = make("2d")
    after = Linear(6, 4)
    with integer_arithmetic(key=0) as arithmetic:
        y = net(x).detach().flatten(2).mean(2)  # no small integers
        with torch.no_grad():
            z = net(x)
            z.mul_(0.3)
        after(z.permute(0, 2, 3, 1).reshape(-1, 6))
        after(y)
    assert [what.split(":")[0] for _, what in arithmetic.layers] == ["integer", "integer", "float", "float"]
    with torch.no_grad(), integer_arithmetic(key=0) as arithmetic:
        z = net(x)
        z.mul_(0.3)
        Conv2d(6, 2, 1)(z)
    assert arithmetic.layers[1][1].startswith("float")


def test_what_a_block_saves_is_small():
    net = network("32C3-MP2-16FC-10", (1, 28, 28)).to(memory_format=torch.channels_last)
    x = torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8)
    saved = {}
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.setdefault(t.data_ptr(), t), lambda t: t)
    with hooks, integer_arithmetic(key=0):
        net(x)
    size = sum(t.numel() * t.element_size() for t in saved.values())
    places = 20 * 32 * 13 * 13
    assert (
        size < 4 * places + 2 * x.numel() + 4 * 20 * 32 * 169 + 60_000
    )  # states, 16-bit sums and places of the pool; pixels


def test_a_block_cannot_be_differentiated_twice():
    net, x = make("2d")
    with integer_arithmetic(key=0):
        y = net(x)
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def test_an_activation_changed_during_training_is_the_one_that_runs():
    (net, x), (other, _) = make("2d", N=3), make("2d", N=1)
    run(net, x)
    net[-1].N = 1
    assert torch.equal(net(x), other(x)) and net(x).unique().tolist() == [-1, 0, 1]
    run(net, x)
    with integer_arithmetic(8, key=3), torch.no_grad():
        assert torch.equal(net(x), other(x))
    net[-1].r = 2.0
    with integer_arithmetic(8, key=3), pytest.raises(ValueError, match="r must lie between 0 and H = 1"):
        net(x)


def test_one_value_per_channel_is_refused_as_by_torch():
    net = Sequential(Linear(3, 5), nn.BatchNorm1d(5), Activation())
    with integer_arithmetic(key=0), pytest.raises(ValueError, match="more than 1 value"):
        net(states(1, 3))
