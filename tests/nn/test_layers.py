"""Discrete layers compute what torch's own layers compute with the same weights, and keep no float copy of them."""

import copy
import gc
import io

import pytest
import torch
import torch.nn.functional as F
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from gxnor.nn import Activation, Conv1d, Conv2d, DiscreteParameter, Linear
from gxnor.space import DiscreteSpace


def noise(*shape: int, dtype=torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def twin(layer: nn.Module) -> nn.Module:
    """Torch's own layer with the same weights, as floats."""
    if isinstance(layer, nn.Linear):
        other = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, dtype=layer.weight.dtype)
    else:
        kind = nn.Conv1d if isinstance(layer, nn.Conv1d) else nn.Conv2d
        other = kind(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
            layer.groups, layer.bias is not None, layer.padding_mode, dtype=layer.weight.dtype,
        )  # fmt: skip
    other.load_state_dict({name: p.detach() * 1 for name, p in layer.named_parameters()})
    return other


def same_forward_and_backward(layer: nn.Module, x: torch.Tensor) -> None:
    other = twin(layer)
    results = []
    for module in (layer, other):
        given = x.clone().requires_grad_()
        y = module(given)
        dy = noise(*y.shape, dtype=y.dtype, seed=1)
        y.backward(dy)
        results.append([y.detach(), given.grad, *(p.grad for p in module.parameters())])
    for ours, theirs in zip(*results, strict=True):
        assert type(ours) is torch.Tensor
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


CONV_OPTIONS = [
    {},
    {"stride": 2},
    {"padding": 2},
    {"padding": "same"},
    {"padding": "same", "dilation": 3},
    {"padding": "valid"},
    {"dilation": 2},
    {"groups": 2},
    {"groups": 4, "bias": True},
    {"bias": True},
    {"padding": 1, "padding_mode": "reflect"},
    {"padding": 1, "padding_mode": "circular", "stride": 2},
    {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": True},
]


@pytest.mark.parametrize("options", CONV_OPTIONS, ids=str)
@pytest.mark.parametrize("kind, size", [(Conv1d, (13,)), (Conv2d, (11, 13))])
def test_convolutions_equal_torch(kind, size, options):
    same_forward_and_backward(kind(4, 8, 3, **options), noise(2, 4, *size))


def test_convolutions_with_a_kernel_that_is_not_square():
    same_forward_and_backward(Conv2d(3, 5, (1, 4), stride=(2, 1), padding=(0, 3)), noise(2, 3, 6, 7))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_same_padding_of_an_even_kernel_is_one_more_on_one_side():
    same_forward_and_backward(Conv2d(3, 5, (2, 4), padding="same"), noise(2, 3, 6, 7))


def test_unbatched_images_and_channels_last():
    same_forward_and_backward(Conv2d(3, 5, 3), noise(3, 6, 7))
    layer, x = Conv2d(4, 5, 3), noise(2, 4, 6, 7).to(memory_format=torch.channels_last)
    same_forward_and_backward(layer, x)
    assert layer(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(6,), (1, 6), (5, 6), (0, 6), (2, 3, 6), (2, 1, 3, 6)], ids=str)
def test_linear_equals_torch(shape, bias):
    layer = Linear(6, 4, bias)
    if bias:
        nn.init.normal_(layer.bias)
    same_forward_and_backward(layer, noise(*shape))


@pytest.mark.parametrize("N", range(8))
@pytest.mark.parametrize("H", [1.0, 0.3])
def test_every_space_in_every_layer(N, H):
    for layer, x in [
        (Linear(7, 5, N=N, H=H), noise(3, 7)),
        (Conv1d(3, 5, 3, N=N, H=H), noise(2, 3, 9)),
        (Conv2d(3, 5, 3, N=N, H=H), noise(2, 3, 5, 6)),
    ]:
        assert isinstance(layer.weight, DiscreteParameter) and layer.weight.space == DiscreteSpace(N, H) == layer.space
        assert layer.bias is None
        same_forward_and_backward(layer, x)


def test_double_precision_and_gradcheck():
    x = noise(2, 6, dtype=torch.float64).requires_grad_()
    layer = Linear(6, 4, dtype=torch.float64)
    assert layer.weight.dtype == torch.float64
    assert torch.autograd.gradcheck(layer, x) and torch.autograd.gradgradcheck(layer, x)
    conv, image = Conv2d(2, 3, 3, dtype=torch.float64), noise(1, 2, 4, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(conv, image) and torch.autograd.gradgradcheck(conv, image)


def test_a_gradient_of_a_gradient_reaches_the_weight():
    layer, x = Linear(6, 4), noise(3, 6).requires_grad_()
    grads = []
    for module in (layer, twin(layer)):
        (dx,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        grads.append(torch.autograd.grad(dx.square().sum(), module.weight)[0])
    torch.testing.assert_close(*grads)


def test_frozen_weights_pass_the_gradient_on():
    layer, x = Linear(6, 4), noise(3, 6).requires_grad_()
    layer.weight.requires_grad_(False)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.dequantize().sum(0).expand(3, 6))


# --- no float copy ---

LAYERS = {
    "linear": (lambda **options: Linear(31, 37, **options), (5, 31)),
    "linear with bias": (lambda **options: Linear(31, 37, True, **options), (5, 31)),
    "conv1d": (lambda **options: Conv1d(7, 11, 5, **options), (2, 7, 12)),
    "conv2d": (lambda **options: Conv2d(7, 11, 3, padding="same", **options), (2, 7, 6, 6)),
    "grouped": (lambda **options: Conv2d(8, 12, 3, groups=4, **options), (2, 8, 6, 6)),
    "reflecting": (lambda **options: Conv2d(7, 11, 3, padding=1, padding_mode="reflect", **options), (2, 7, 6, 6)),
}


def float_tensors_of(count: int) -> list[torch.Tensor]:
    """All float tensors of that many elements that Python can reach and that are not a packed weight."""
    gc.collect()
    return [
        t
        for t in gc.get_objects()
        if issubclass(type(t), torch.Tensor)
        and type(t) is not DiscreteParameter
        and t.is_floating_point()
        and t.numel() == count
    ]


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("name", LAYERS)
def test_no_float_copy_survives_a_pass(name, autocast):
    make, shape = LAYERS[name]
    layer, kept = make(), []
    count = layer.weight.numel()
    before = float_tensors_of(count)
    saving = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t)
    with saving, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = layer(noise(*shape).requires_grad_())
    assert any(isinstance(t, DiscreteParameter) for t in kept)  # the packed weight is what backward needs
    assert not [t for t in kept if t.numel() == count and not isinstance(t, DiscreteParameter)]
    assert len(float_tensors_of(count)) == len(before)
    y.float().sum().backward()
    kept.clear()
    grad = layer.weight.grad
    after = float_tensors_of(count)
    assert len(after) == len(before) + 1 and any(t is grad for t in after)


def test_the_state_dict_holds_no_float_weight():
    state = nn.Sequential(Conv2d(1, 8, 3), Linear(8, 4)).state_dict()
    assert all(isinstance(t, DiscreteParameter) for t in state.values())


# --- copies and files ---


def network(N: int = 1, **options) -> nn.Sequential:
    return nn.Sequential(
        Conv2d(1, 4, 3, N=N, **options), nn.BatchNorm2d(4), Activation(), nn.Flatten(), Linear(64, 3, N=N, **options)
    )


def states(net: nn.Module) -> list[torch.Tensor]:
    return [m.states() for m in net.modules() if hasattr(m, "states")]


@pytest.mark.parametrize("options", [{}, {"latent": True}, {"H": 0.3}], ids=str)
@pytest.mark.parametrize("assign", [False, True])
def test_state_dict_round_trip(assign, options):
    source, target = network(**options), network(**options)
    buffer = io.BytesIO()
    torch.save(source.state_dict(), buffer)
    buffer.seek(0)
    target.load_state_dict(torch.load(buffer, weights_only=True), assign=assign)
    torch.testing.assert_close(states(source), states(target), rtol=0, atol=0)
    x = noise(2, 1, 6, 6)
    assert torch.equal(source.eval()(x), target.eval()(x))
    assert all(p.requires_grad and isinstance(p, nn.Parameter) for p in target.parameters())
    assert isinstance(target[0].weight, DiscreteParameter) == (not options.get("latent"))


def test_loading_does_not_tie_two_networks():
    source, target = network(), network()
    target.load_state_dict(source.state_dict())
    before = target[0].states()
    source[0].weight.set_indices(2 - source[0].states())
    assert torch.equal(target[0].states(), before)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: Linear(6, 5).state_dict(), "size mismatch for weight"),
        (lambda: Linear(6, 4, N=0).state_dict(), r"N=1, H=1.0\).* got .*N=0"),
        (lambda: Linear(6, 4, H=2.0).state_dict(), r"H=1.0\).* got .*H=2.0"),
        (lambda: nn.Linear(6, 4, bias=False).state_dict(), "expected states of DiscreteSpace"),
        (lambda: {}, "Missing key.*weight"),
    ],
    ids=["shape", "space", "range", "floats", "nothing"],
)
def test_loading_the_wrong_state_is_refused(wrong, message, assign):
    layer = Linear(6, 4)
    before = layer.states()
    with pytest.raises(RuntimeError, match=message):
        layer.load_state_dict(wrong(), assign=assign)
    assert torch.equal(layer.states(), before) and isinstance(layer.weight, DiscreteParameter)


def test_latent_layers_load_states_as_values_but_never_become_discrete():
    latent, discrete = Linear(6, 4, latent=True), Linear(6, 4)
    latent.load_state_dict(discrete.state_dict())
    assert torch.equal(latent.states(), discrete.states())
    with pytest.raises(RuntimeError, match="expected real numbers, got states"):
        latent.load_state_dict(discrete.state_dict(), assign=True)


def test_float_values_that_are_states_load_into_a_discrete_layer():
    layer = Linear(6, 4)
    values = torch.tensor([-1.0, 0, 1, 0]).repeat(6).view(4, 6)
    layer.load_state_dict({"weight": values})
    assert torch.equal(layer.weight.dequantize(), values)


def test_deepcopy_of_a_network_is_independent():
    net = network()
    twin = copy.deepcopy(net)
    before = states(net)
    torch.testing.assert_close(states(twin), before)
    twin[0].weight.set_indices(torch.zeros_like(twin[0].states()))
    torch.testing.assert_close(states(net), before)


# --- what torch's modules offer, works ---


def test_drawing_anew_keeps_the_parameter():
    torch.manual_seed(3)
    for layer in (Linear(30, 40, True), Conv2d(3, 40, 3, bias=True), Linear(30, 40, True, latent=True)):
        weight, before = layer.weight, layer.states()
        nn.init.ones_(layer.bias)
        layer.reset_parameters()
        assert layer.weight is weight and not torch.equal(layer.states(), before) and (layer.bias == 0).all()


def test_states_are_drawn_from_the_global_seed():
    torch.manual_seed(1)
    first = states(network())
    torch.manual_seed(1)
    torch.testing.assert_close(states(network()), first, rtol=0, atol=0)


def test_says_space_and_share_of_zeros():
    layer = Linear(4, 2)
    layer.load_state_dict({"weight": torch.tensor([[0.0, 0, 0, 1], [0, 1, -1, 1]])})
    assert repr(layer) == "Linear(in_features=4, out_features=2, bias=False, N=1, packed, zeros=50.0%)"
    assert "N=2, H=0.5, packed, zeros=" in repr(Conv1d(2, 3, 3, N=2, H=0.5))
    assert repr(Conv2d(2, 3, 3, N=0, latent=True)).endswith("bias=False, N=0, latent float, zeros=0.0%)")


@pytest.mark.parametrize("make, shape", [(lambda: Linear(6, 4, True), (3, 6)), (lambda: Conv2d(2, 3, 3), (2, 2, 5, 5))])
def test_autocast(make, shape):
    layer, x = make(), noise(*shape).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        assert y.dtype == torch.bfloat16
        expected = twin(layer)(x)
    y.float().sum().backward()
    torch.testing.assert_close(y, expected, rtol=0.02, atol=0.02)
    assert layer.weight.grad.dtype == torch.float32 and x.grad.dtype == torch.float32


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_networks_learn_the_same(backend):
    net, x = network(), noise(2, 1, 6, 6)
    net(x).square().sum().backward()
    expected = [p.grad for p in net.parameters()]
    net.zero_grad()
    torch._dynamo.reset()
    torch.compile(net, backend=backend, fullgraph=True)(x).square().sum().backward()
    torch.testing.assert_close([p.grad for p in net.parameters()], expected)
    net(x)  # nothing of the compilation stays behind in the eager path


def test_a_compiler_sees_values_and_not_the_bits_they_are_made_of():
    seen = []

    def keep(graph, _):
        seen.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return make_boxed_func(graph.forward)

    torch._dynamo.reset()
    torch.compile(Conv2d(2, 3, 3), backend=aot_autograd(fw_compiler=keep))(noise(2, 2, 5, 5))
    assert torch.ops.gxnor.dequantize.default in seen
    assert not [target for target in seen if "shift" in str(target) or "bitwise" in str(target)]


@pytest.mark.parametrize("N, dtype", [(0, torch.float32), (1, torch.bfloat16), (3, torch.float64)])
def test_what_a_compiler_is_told_of_the_values_is_true(N, dtype):
    weight = DiscreteParameter.random((3, 5), DiscreteSpace(N))
    torch.library.opcheck(torch.ops.gxnor.dequantize.default, (weight.packed, N, 1.0, weight.shape, dtype))


def test_assigning_a_float_result_to_the_weight_is_refused():
    layer = Linear(6, 4)
    with pytest.raises(TypeError), torch.no_grad():
        layer.weight += 1
    assert isinstance(layer.weight, DiscreteParameter)


def test_wrong_spaces_are_named():
    with pytest.raises(ValueError, match="N must be"):
        Linear(2, 3, N=9)
    with pytest.raises(ValueError, match="H must be"):
        Conv2d(2, 3, 3, H=0.0)


# --- the latent baseline ---


@pytest.mark.parametrize("N", range(8))
@pytest.mark.parametrize("H", [1.0, 0.3, 2.0])
def test_latent_weights_are_projected_forward_and_take_the_gradient_straight(N, H):
    layer, space = Linear(50, 40, N=N, H=H, latent=True), DiscreteSpace(N, H)
    assert type(layer.weight) is nn.Parameter
    with torch.no_grad():
        layer.weight.copy_(noise(40, 50) * H)
    clipped = layer.weight.detach().clamp(-H, H)
    x = noise(3, 50, seed=1)
    y = layer(x)
    projected = torch.from_numpy(space.project(clipped.numpy()))
    torch.testing.assert_close(y, F.linear(x, projected))
    assert torch.equal(layer.weight, clipped)  # kept within [-H, H]
    assert torch.equal(layer.effective_weight(), projected)  # exactly the values of the states
    assert (space.value(layer.states().numpy()) == projected.numpy()).all()
    y.backward(noise(3, 40, seed=2))
    torch.testing.assert_close(layer.weight.grad, noise(3, 40, seed=2).t() @ x)


def test_latent_ties_go_away_from_zero_and_just_below_them_do_not():
    layer = Linear(6, 1, latent=True)
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0)).item()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.5, below, -below, 0.0, 7.0]]))
    assert layer.effective_weight().tolist() == [[1, -1, 0, 0, 0, 1]]
    assert layer.states().tolist() == [[2, 0, 1, 1, 1, 2]]


def test_latent_weights_start_spread_over_the_range():
    torch.manual_seed(0)
    weight = Linear(100, 100, H=2.0, latent=True).weight.detach()
    assert weight.min() < -1.99 and weight.max() > 1.99 and weight.mean().abs() < 0.06


def test_latent_convolutions_equal_torch_with_projected_weights():
    layer = Conv2d(3, 5, 3, padding=1, latent=True)
    x = noise(2, 3, 6, 6)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight.sign() * (layer.weight.abs() >= 0.5), padding=1))
    layer(x).sum().backward()
    assert layer.weight.grad.abs().sum() > 0
