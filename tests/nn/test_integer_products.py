"""Layers in integer arithmetic: the sums of float arithmetic to the bit, gradients that are rounded and right on average."""

import contextlib

import pytest
import torch
from torch import nn

from gxnor import native
from gxnor.nn import (
    Activation,
    Conv1d,
    Conv2d,
    Linear,
    Precision,
    integer,
    integer_arithmetic,
    integer_operands,
    integer_products,
    network,
    pack_saved_activations,
)
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.stream import subkey
from gxnor.optim import DST
from gxnor.space import DiscreteSpace


def states(*shape, top=1, unit=1.0):
    return torch.randint(-top, top + 1, shape).float() * unit


def signs(*shape):
    return torch.randint(0, 2, shape).float() * 2 - 1


LAYERS = {
    "dense": lambda: (Linear(13, 5), states(6, 13)),
    "dense over places, with bias": lambda: (Linear(3, 5, bias=True, N=2), states(2, 4, 3)),
    "1d": lambda: (Conv1d(4, 6, 3, 2, 1, 2, 2), states(3, 4, 11)),
    "1d, same": lambda: (Conv1d(4, 6, 3, padding="same"), states(3, 4, 11)),
    "2d": lambda: (Conv2d(3, 5, 3, padding=1, bias=True), states(2, 3, 6, 7)),
    "strided, dilated, grouped": lambda: (Conv2d(4, 6, (3, 2), (2, 3), (1, 2), (2, 1), 2), states(3, 4, 9, 11)),
    "one channel": lambda: (Conv2d(1, 4, 3), states(2, 1, 5, 5)),
    "one place": lambda: (Conv2d(5, 4, 1), states(2, 5, 1, 1)),
    "binary": lambda: (Conv2d(3, 5, 3, N=0), signs(2, 3, 6, 7)),
    "129 states": lambda: (Conv2d(3, 5, 3, N=7), states(2, 3, 6, 7, top=64, unit=1 / 64)),
    "another range": lambda: (Conv2d(3, 5, 3, N=2, H=0.25), states(2, 3, 6, 7, top=2, unit=0.5)),
    "bytes": lambda: (Linear(13, 5), states(6, 13, top=127)),
    "pixels": lambda: (Conv2d(3, 5, 3, padding=1), states(2, 3, 6, 7, top=127) * 2 + 1),
    "pixels, 129 states": lambda: (Conv2d(1, 5, 3, N=7), states(2, 1, 6, 7, top=127) * 2 + 1),
    "levels up to 255": lambda: (Conv2d(4, 6, 3, padding=1, groups=2), states(2, 4, 6, 7, top=255)),
    "16 bits": lambda: (Conv2d(3, 5, 3, padding=1), states(2, 3, 6, 7, top=16000)),
    "all of 16 bits": lambda: (Linear(2, 5), torch.tensor([[32767.0, -32767], [32766, 1], [-32703, 0]])),
    "latent": lambda: (Conv2d(3, 5, 3, padding=1, latent=True, N=2), states(2, 3, 6, 7)),
    "latent dense": lambda: (Linear(13, 5, latent=True, N=0), states(6, 13)),
}
SPACES = [DiscreteSpace(N, H) for N, H in ((0, 1.0), (1, 1.0), (2, 0.5), (3, 1.0), (7, 2.0))]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_levels_of_packed_weights_agree_with_the_reference(space, implementation):
    for shape in ((1, 1), (3, 5), (64, 33), (1, 1, 1), (5, 3, 4), (1, 1, 3, 3), (7, 5, 3, 2), (40, 70, 3, 3)):
        dense, weight = len(shape) == 2, DiscreteParameter.random(shape, space)
        plan = integer_operands.Plan("", dense, 6, 0, None, space, None)
        w = integer_operands.levels(weight, plan)
        assert w.dtype == torch.int8 and torch.equal(w, integer_operands.levels_reference(weight, plan))
        values = integer_operands.as_images(weight.dequantize(), dense)
        assert torch.equal(w.float() * (space.H / space.denominator), values)


FLOAT = {
    "real input": (lambda: (Conv2d(3, 5, 3), torch.randn(2, 3, 6, 7)), "not small integers"),
    "an input beyond 16 bits": (lambda: (Linear(3, 5), states(2, 3, top=40000)), "not small integers"),
    "sums beyond 2^24": (lambda: (Linear(2**13, 2, N=7), torch.full((1, 2**13), 127.0)), "2\\^24"),
    "not a power of two": (lambda: (Conv2d(3, 5, 3, H=0.3), states(2, 3, 6, 7)), "H = 0.3"),
    "circular padding": (lambda: (Conv2d(3, 5, 3, padding=1, padding_mode="circular"), states(2, 3, 6, 7)), "padding"),
    "uneven padding": (lambda: (Conv2d(3, 5, 4, padding="same"), states(2, 3, 6, 7)), "padding"),
    "float64": (lambda: (Linear(3, 5, dtype=torch.float64), states(2, 3).double()), "float64"),
    "one image": (lambda: (Conv2d(3, 5, 3), states(3, 6, 7)), "not a batch"),
    "no images": (lambda: (Conv2d(3, 5, 3), states(0, 3, 6, 7)), "not a batch"),
}


def made(make, channels_last=False):
    torch.manual_seed(0)
    layer, x = make()
    if channels_last and x.dim() == 4:
        layer, x = layer.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    return layer, x.requires_grad_()


def run(layer, x, context, dy=None):
    """(output, gradients of input and weight)"""
    layer.zero_grad()
    with context:
        y = layer(x)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)) if dy is None else dy
    return y.detach(), *torch.autograd.grad(y, [x, layer.weight], dy.to(y.dtype))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_sums_are_those_of_float_arithmetic(name, channels_last, implementation):
    layer, x = made(LAYERS[name], channels_last)
    with integer_arithmetic(key=0) as arithmetic:
        y = layer(x)
    assert [what for _, what in arithmetic.layers] == ["integer"]
    expected = layer(x)
    assert torch.equal(y, expected) and y.dtype == expected.dtype
    if x.dim() != 4 or x.shape[1] > 1:
        assert y.stride() == expected.stride() or expected[0, 0].numel() == 1


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_the_reference(name, channels_last, monkeypatch):
    if native.library() is None:
        pytest.skip("the native library is not built")
    layer, x = made(LAYERS[name], channels_last)
    fast = run(layer, x, integer_arithmetic(5, key=7))
    monkeypatch.setattr(native, "library", lambda: None)
    for a, b in zip(fast, run(layer, x, integer_arithmetic(5, key=7)), strict=True):
        assert torch.equal(a, b)


def test_a_dense_layer_s_gradients_written_out(implementation):
    layer, x = made(lambda: (Linear(13, 5, N=2), states(6, 13, top=4, unit=0.25)))
    _, dx, dw = run(layer, x, integer_arithmetic(6, key=9))
    dy, key = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), subkey(9, 0)
    q, scale = integer.quantize(dy, 6, subkey(key, 0), "sample")
    levels = layer.weight.indices().long() - 2
    assert torch.equal(dx, (q.long() @ levels).float() * (scale * 0.5)[:, None])
    q, scale = integer.quantize(dy, 6, subkey(key, 1), "channel")
    assert torch.equal(dw, (q.long().t() @ (4 * x).long()).float() * (scale * 0.25)[:, None])


@pytest.mark.parametrize(
    "geometry", [(3, 1, 0, 1, 1), (3, (2, 1), (1, 2), (2, 1), 1), ((1, 2), 3, 1, 1, 1), (3, 1, 1, 1, 3)]
)
def test_the_gradient_of_the_weights_on_pixels_written_out(geometry, implementation):
    layer, x = made(lambda: (Conv2d(3, 6, *geometry), states(2, 3, 8, 7, top=127) * 2 + 1))
    y, _, dw = run(layer, x, integer_arithmetic(6, key=9))
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    q, scale = integer.quantize(dy.permute(0, 2, 3, 1).contiguous(), 6, subkey(subkey(9, 0), 1), "channel")
    exact = nn.grad.conv2d_weight(
        x.double(), layer.weight.shape, q.permute(0, 3, 1, 2).double(), layer.stride, layer.padding, layer.dilation,
        layer.groups,
    )  # fmt: skip
    torch.testing.assert_close(dw, (exact * scale.double().view(-1, 1, 1, 1)).float(), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_right_on_average(name):
    layer, x = made(LAYERS[name])
    exact = run(layer, x, contextlib.nullcontext())[1:]
    repeats = 150
    means, squares = [torch.zeros_like(e) for e in exact], [torch.zeros_like(e) for e in exact]
    for key in range(repeats):
        for mean, square, part, right in zip(
            means, squares, run(layer, x, integer_arithmetic(4, key=key))[1:], exact, strict=True
        ):
            mean += (part - right) / repeats
            square += (part - right) ** 2 / repeats
    for mean, square, right in zip(means, squares, exact, strict=True):
        deviation = (square / repeats).sqrt()
        assert (mean.abs() <= 6 * deviation + 1e-5 * right.abs().max()).all()
        # and over all elements together no part of the gradient is missing
        assert abs((mean * right).sum()) <= 6 * (deviation * right).norm() * repeats**0.5 + 1e-5 * (right**2).sum()


@pytest.mark.parametrize("name", FLOAT)
def test_a_layer_that_cannot_does_what_it_did_and_says_why(name):
    make, why = FLOAT[name]
    layer, x = made(make)
    arithmetic = integer_arithmetic(key=0)
    for a, b in zip(run(layer, x, arithmetic), run(layer, x, contextlib.nullcontext()), strict=True):
        assert torch.equal(a, b)
    ((_, what),) = arithmetic.layers
    with pytest.raises(AssertionError, match=why):  # the reason, as a pattern
        raise AssertionError(what)


def test_autocast_and_compile_are_left_as_they_are():
    layer, x = made(LAYERS["2d"])
    with integer_arithmetic(key=0) as arithmetic, torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert "autocast" in arithmetic.layers[0][1]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(y, layer(x))
    compiled = torch.compile(layer, backend="aot_eager")
    for a, b in zip(
        run(compiled, x, integer_arithmetic(2, key=0)), run(layer, x, contextlib.nullcontext()), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("N", [0, 1, 2])
def test_a_network_says_what_its_layers_did(N, packed):
    torch.manual_seed(0)
    model = network("5C3-6C3-MP2-9FC-4", (3, 9, 8), Precision(1, N), "same")
    x = torch.randint(0, 256, (4, 3, 9, 8), dtype=torch.uint8)
    saving = pack_saved_activations() if packed else contextlib.nullcontext()
    buffers = [b.clone() for b in model.buffers()]
    with saving, integer_arithmetic(6, key=3, model=model) as arithmetic:
        y = model(x)
    assert [name for name, what in arithmetic.layers if what == "integer"] == ["conv1", "conv2", "fc3", "fc4"]
    assert str(arithmetic).splitlines()[0].split() == ["conv1", "integer"]
    y.square().sum().backward()
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    assert torch.equal(y, model(x))


def test_saved_in_fewer_bits_the_gradients_are_the_same():
    torch.manual_seed(0)
    model = network("5C3-6C3-MP2-9FC-4", (3, 9, 8), Precision(1, 1), "same")
    x = torch.randint(0, 256, (8, 3, 9, 8), dtype=torch.uint8)
    gradients = []
    for saving in (contextlib.nullcontext(), pack_saved_activations()):
        model.zero_grad()
        with saving, integer_arithmetic(6, key=3):
            y = model(x)
        y.square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("saving, bits", [(contextlib.nullcontext, 8), (pack_saved_activations, 2)])
def test_input_is_saved_in_its_small_form(saving, bits):
    conv, x, kept = Conv2d(16, 8, 3), states(8, 16, 12, 12).requires_grad_(), []
    watch = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t)
    with watch, saving(), integer_arithmetic(key=0):
        conv(x)
    sizes = [t.untyped_storage().nbytes() for t in kept if t.shape != conv.weight.shape]
    assert sizes == [x.numel() * bits // 8]


def test_the_same_key_gives_the_same_bits_on_any_number_of_threads_and_another_key_others():
    layer, x = made(lambda: (Conv2d(8, 16, 3, padding=1), states(8, 8, 20, 20)))
    before, results = torch.get_num_threads(), []
    for threads, key in ((1, 5), (3, 5), (1, 6)):
        torch.set_num_threads(threads)
        results.append(run(layer, x, integer_arithmetic(6, key=key)))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][1], results[2][1]) and not torch.equal(results[0][2], results[2][2])
    drawn = [integer_arithmetic(key=torch.Generator().manual_seed(seed)).key for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_layers_of_a_pass_draw_from_streams_of_their_own():
    layer, x = made(LAYERS["dense"])
    dy = torch.randn(6, 5)
    with integer_arithmetic(2, key=0):
        first, second = layer(x), layer(x)
    assert not torch.equal(*(torch.autograd.grad(y, x, dy)[0] for y in (first, second)))


def test_sums_beyond_32_bits_are_taken_in_pieces(monkeypatch):
    layer, x = made(lambda: (Conv2d(3, 2, 3, padding=1), states(2, 3, 6, 7)))
    whole = run(layer, x, integer_arithmetic(6, key=1))
    for module in (integer_products, integer_operands):
        monkeypatch.setattr(module, "LARGEST_SUM", 31 * 42)  # of one image
    for a, b in zip(run(layer, x, integer_arithmetic(6, key=1)), whole, strict=True):
        torch.testing.assert_close(a, b)
    monkeypatch.setattr(integer_products, "LARGEST_SUM", 31 * 42 - 1)
    arithmetic = integer_arithmetic(6, key=1)
    run(layer, x, arithmetic)
    assert "32 bits" in arithmetic.layers[0][1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("in_backward", [False, True])
def test_a_gradient_that_is_not_finite_names_its_layer_and_moves_nothing(value, in_backward):
    torch.manual_seed(0)
    model = network("4C3-6FC-4", (1, 6, 6), Precision(1, 1))
    optimizer = DST(model, lr=1.0)
    if in_backward:
        optimizer.update_in_backward()
    before = {name: t.clone() for name, t in model.state_dict().items() if "weight" in name}
    with integer_arithmetic(6, key=3, model=model):
        y = model(torch.randint(0, 256, (3, 1, 6, 6), dtype=torch.uint8))
    with pytest.raises(FloatingPointError, match="layer fc3 is not finite"):
        (y * value).sum().backward()
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items() if name in before)


def test_a_backward_pass_to_be_differentiated_is_refused():
    for module, x in ((Conv2d(2, 2, 3), states(8, 2, 8, 8)), (Linear(8, 2), states(4, 8))):
        with integer_arithmetic(key=0):
            y = module(x.requires_grad_()).sum()
        with pytest.raises(RuntimeError, match="create_graph"):
            torch.autograd.grad(y, x, create_graph=True)


@pytest.mark.parametrize("bits", [1, 9, 0, -6, 6.0, True, "6", None])
def test_impossible_bits_are_refused(bits):
    with pytest.raises(ValueError, match="gradient_bits must be an integer from 2 to 8"):
        integer_arithmetic(bits)


def test_contexts_nest_and_end():
    layer, x = made(LAYERS["dense"])
    with integer_arithmetic(key=0) as outer:
        with pytest.raises(ZeroDivisionError), integer_arithmetic(key=1) as inner:
            layer(x)
            raise ZeroDivisionError
        layer(x)
    layer(x)
    assert len(outer.layers) == len(inner.layers) == 1


def test_it_needs_no_gradients():
    model = nn.Sequential(Conv2d(2, 4, 3), Activation(), nn.Flatten(), Linear(4 * 9, 3))
    x = states(2, 2, 5, 5)
    with torch.no_grad(), integer_arithmetic() as arithmetic:
        y = model(x)
    assert torch.equal(y, model(x)) and all(what == "integer" for _, what in arithmetic.layers)
