"""Networks from the paper's notation, and every special case by settings alone."""

import pytest
import torch
from torch import nn

from gxnor.nn import Activation, Conv2d, DiscreteParameter, Linear
from gxnor.nn.networks import CIFAR10, MNIST, RESNET20, network, parse
from gxnor.nn.pixels import Pixels
from gxnor.nn.precision import PRECISIONS, Precision
from gxnor.space import DiscreteSpace


def images(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def discrete_weights(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters() if isinstance(p, DiscreteParameter))


def test_the_papers_networks_have_the_papers_weights():
    assert discrete_weights(network(MNIST, (1, 28, 28))) == 581_408
    assert discrete_weights(network(CIFAR10, (3, 32, 32), padding="same")) == 12_973_440


def test_blocks_are_convolution_pooling_norm_activation():
    names = [name for name, _ in network(MNIST, (1, 28, 28)).named_children()]
    assert names == [
        "pixels", "conv1", "pool1", "norm1", "act1", "conv2", "pool2", "norm2", "act2",
        "flatten", "fc3", "norm3", "act3", "fc4", "norm4",
    ]  # fmt: skip


def test_resnet_20_has_its_weights_and_sizes():
    net = network(RESNET20, (3, 32, 32), padding="same")
    assert discrete_weights(net) == 270_896  # He et al., table 6: 0.27 M
    sizes = {}
    for name, module in net.named_children():
        module.register_forward_hook(lambda _, __, y, name=name: sizes.update({name: tuple(y.shape[1:])}))
    net(images(2, 3, 32, 32))
    assert sizes["block4"] == (16, 32, 32) and sizes["block7"] == (32, 16, 16) and sizes["block10"] == (64, 8, 8)
    assert sizes["average"] == (64, 1, 1)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 5), (9,)])
def test_residual_blocks_take_images_and_series_of_any_size(size):
    net = network("4C3-4R3-6D3-AP-3", (2, *size), padding="same")
    assert net(images(4, 2, *size)).shape == (4, 3)


def test_notation():
    assert parse("10") == [("FC", 10, 0)]
    assert parse(MNIST) == [("C", 32, 5), ("MP", 0, 2), ("C", 64, 5), ("MP", 0, 2), ("FC", 512, 0), ("FC", 10, 0)]
    assert parse("16C3-2x16R3-32D3-AP-5") == [
        ("C", 16, 3), ("R", 16, 3), ("R", 16, 3), ("D", 32, 3), ("AP", 0, 0), ("FC", 5, 0),
    ]  # fmt: skip
    assert parse("2x8C3-2x16FC-5") == [("C", 8, 3)] * 2 + [("FC", 16, 0)] * 2 + [("FC", 5, 0)]


@pytest.mark.parametrize(
    "notation, message",
    [
        ("", "cannot read ''"),
        ("32C5-MP2-", "cannot read ''"),
        ("32C5-512FC", "cannot read '512FC'"),  # no output layer
        ("32C5-10-10", "cannot read '10'"),
        ("32c5-10", "cannot read '32c5'"),
        ("32C5 -10", "cannot read '32C5 '"),
        ("C5-10", "cannot read 'C5'"),
        ("0C5-10", "cannot read '0C5'"),
        ("32C0-10", "cannot read '32C0'"),
        ("0x32C5-10", "cannot read '0x32C5'"),
        ("8C3-2xMP2-10", "cannot read '2xMP2'"),
        ("8C3-2x10", "cannot read '2x10'"),
        ("8C3-BN-10", "cannot read 'BN'"),
        ("16FC-8C3-10", "dense layers come last"),
        ("8C3-16FC-MP2-10", "dense layers come last"),
        ("MP2-8C3-10", "pooling follows a convolution"),
        ("8C3-MP2-MP2-10", "pooling follows a convolution"),
        ("8R3-MP2-10", "pooling follows a convolution"),
        ("8C3-8R2-10", "the kernel of a residual block is odd"),
        ("8C3-0D3-10", "cannot read '0D3'"),
        ("8C3-2xAP-10", "cannot read '2xAP'"),
        ("AP-10", "the average AP stands between"),
        ("8C3-AP-8C3-10", "the average AP stands between"),
        ("8C3-AP-AP-10", "the average AP stands between"),
    ],
)
def test_wrong_notation_is_named(notation, message):
    with pytest.raises(ValueError, match=message) as error:
        parse(notation)
    assert repr(notation) in str(error.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"notation": "8C5-MP2-8C5-10"}, "images of 8 x 8 are too small"),
        ({"notation": "8C9-10"}, "images of 8 x 8 are too small"),
        ({"notation": "8C3-MP9-10"}, "images of 8 x 8 are too small"),
        ({"padding": "full"}, "padding must be valid or same, got 'full'"),
        ({"width": 0}, "width must be a positive number, got 0"),
        ({"width": float("nan")}, "width must be"),
    ],
)
def test_impossible_networks_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**{"notation": "8C3-10", "input_shape": (1, 8, 8), **arguments})


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("width", [0.5, 1.0, 1.5])
def test_width_scales_all_but_the_scores(width, padding):
    net = network("2x8C3-MP2-16FC-5", (3, 12, 10), padding=padding, width=width)
    assert [net.conv1.out_channels, net.conv2.out_channels, net.fc3.out_features] == [8 * width, 8 * width, 16 * width]
    assert net(images(4, 3, 12, 10)).shape == (4, 5)
    assert network("8C3-16FC-5", (3, 12, 10), width=1e-9).conv1.out_channels == 1


# --- one framework, its special cases ---

CASES = {
    "full": (None, None, False),
    "bwn": (0, None, False),
    "twn": (1, None, False),
    "bnn": (0, 0, False),
    "gxnor": (1, 1, False),
    "latent": (1, 1, True),
}


def test_every_special_case_has_a_name():
    assert {
        name: Precision(weights=weights, activations=activations, latent=latent)
        for name, (weights, activations, latent) in CASES.items()
    } == PRECISIONS


@pytest.mark.parametrize(
    "weights, activations, latent", [*CASES.values(), (2, 1, False), (1, 3, False), (7, 7, False), (0, 2, True)]
)
def test_settings_alone_make_the_network(weights, activations, latent):
    torch.manual_seed(0)
    net = network("4C3-MP2-6FC-3", (1, 8, 8), Precision(weights, activations, latent))
    for layer in (net.conv1, net.fc2, net.fc3):
        assert layer.bias is None
        if weights is None:
            assert type(layer) in (nn.Conv2d, nn.Linear)
        else:
            assert type(layer) in (Conv2d, Linear) and layer.space == DiscreteSpace(weights)
            assert isinstance(layer.weight, DiscreteParameter) != latent
    seen = []
    net.act2.register_forward_hook(lambda module, given, y: seen.append(y.detach()))
    net(images(16, 1, 8, 8)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    if activations is None:
        assert type(net.act1) is type(net.act2) is nn.ReLU
    else:
        assert type(net.act1) is type(net.act2) is Activation
        assert DiscreteSpace(activations).contains(seen[0].numpy()).all()


def test_activation_settings_reach_the_activations():
    net = network("4C3-6FC-3", (1, 8, 8), Precision(1, 2, r=0.25, a=0.75, H=2.0, window="triangular"))
    for act in (net.act1, net.act2):
        assert (act.N, act.r, act.a, act.H, act.window) == (2, 0.25, 0.75, 2.0, "triangular")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"weights": -1}, "N must be"),
        ({"activations": 8}, "N must be"),
        ({"weights": None, "latent": True}, "give weights = N1"),
        ({"r": 2.0}, "r must lie"),
        ({"a": 0.0}, "a, the half-width"),
        ({"window": "round"}, "window must be"),
    ],
)
def test_impossible_precisions_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Precision(**settings)


def test_pixels_become_odd_integers():
    p = torch.arange(256, dtype=torch.uint8)
    expected = torch.arange(-255, 256, 2, dtype=torch.float32)
    assert torch.equal(Pixels()(p), expected)
    assert torch.equal(Pixels()(p / 255), expected)
    assert torch.equal(Pixels()((p.double() / 255 + 0.001).clamp(max=1)), expected)  # to the nearest pixel value
    for dtype in (torch.int64, torch.int16, torch.bool):
        with pytest.raises(ValueError, match=r"expected uint8 pixels 0\.\.255 or floats in \[0, 1\], got torch\."):
            Pixels()(p.to(dtype))


def test_sums_of_a_discrete_network_are_integers():
    net = network("4C3-MP2-6FC-3", (1, 8, 8))
    seen = []
    for layer in (net.conv1, net.fc2, net.fc3):
        layer.register_forward_hook(lambda module, given, y: seen.append(y.detach()))
    net(images(16, 1, 8, 8))
    assert len(seen) == 3 and all(torch.equal(y, y.round()) for y in seen)


@pytest.mark.parametrize("name", PRECISIONS)
def test_scores_do_not_depend_on_the_batch_in_evaluation(name):
    torch.manual_seed(0)
    net = network("4C3-MP2-6FC-3", (1, 8, 8), PRECISIONS[name])
    x = images(16, 1, 8, 8)
    net(x)
    net.eval()
    torch.testing.assert_close(torch.cat([net(x[:5]), net(x[5:])]), net(x))
