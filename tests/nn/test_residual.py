"""Residual blocks whose sums have more states than the activations: what their layers read, and what runs past them."""

import pytest
import torch

from gxnor.nn import Activation, Conv2d
from gxnor.nn.networks import RESNET20, network
from gxnor.nn.precision import Precision
from gxnor.nn.residual import TOP, RoundedSum

LAYERS = "4C3-MP2-2x4R3-6D3-AP-3"


def images(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def numbers_read(net: torch.nn.Module, kind: type, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The different numbers that every module of a kind reads, by name."""
    read = {}
    for name, module in net.named_modules():
        if isinstance(module, kind):
            module.register_forward_pre_hook(lambda _, given, name=name: read.update({name: given[0].unique()}))
    net(x)
    return read


@pytest.mark.parametrize("N", [2, 5, 7])
def test_a_sum_is_rounded_to_the_nearest_level(N):
    step = TOP / 2 ** (N - 1)
    x = torch.linspace(-TOP - 1, TOP + 1, 4001, dtype=torch.float64).requires_grad_()
    y = RoundedSum(N)(x)
    levels = step * torch.arange(-(2 ** (N - 1)), 2 ** (N - 1) + 1, dtype=torch.float64)
    assert torch.equal(y.unique(), levels) and len(levels) == 2**N + 1
    nearest = (x.detach()[:, None] - levels).abs().amin(1)
    torch.testing.assert_close((y - x).detach().abs(), nearest)
    y.sum().backward()
    seam = ((x.detach() / step).round() * step - x.detach()).abs() < 1e-9  # where two windows meet
    assert torch.equal(x.grad[~seam], (x.detach().abs() < TOP).double()[~seam])


@pytest.mark.parametrize("activations", [0, 1, 2])
def test_every_convolution_reads_the_states_of_activations_and_sums_have_more(activations):
    net = network(LAYERS, (2, 12, 10), Precision(activations=activations, shortcuts=4), padding="same")
    read = numbers_read(net, Conv2d, images(8, 2, 12, 10))
    first, *others = read.values()
    assert len(first) > 100 and len(read) == 8
    assert all(len(values) <= 1 + 2**activations and values.abs().max() <= 1 for values in others)
    sums = numbers_read(net, Activation, images(8, 2, 12, 10))
    between = [values for name, values in sums.items() if name.endswith("act2")]
    assert len(between) == 3 and all(5 < len(values) <= 17 and values.abs().max() > 1 for values in between)


def test_sums_run_past_the_blocks():
    net = network(LAYERS, (2, 12, 10), Precision(shortcuts=5), padding="same").eval()
    block = net.block2
    torch.nn.init.zeros_(block.norm2.weight)
    x = RoundedSum(5)(4 * torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 5), (9,)])
def test_images_and_series_of_any_size(size):
    net = network("4C3-4R3-6D3-AP-3", (2, *size), Precision(shortcuts=5), padding="same")
    assert net(images(4, 2, *size)).shape == (4, 3)


def test_the_weights_are_those_of_the_network_without():
    with_sums = network(RESNET20, (3, 32, 32), Precision(shortcuts=5), padding="same").state_dict()
    without = network(RESNET20, (3, 32, 32), padding="same").state_dict()
    assert {name: t.shape for name, t in with_sums.items()} == {name: t.shape for name, t in without.items()}


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"shortcuts": 8}, "N must be an integer from 0"),
        ({"shortcuts": 2.5}, "N must be an integer from 0"),
        ({"shortcuts": 1}, "shortcuts must be 0, or 2 to 7 .*, got 1 with activations = 1"),
        ({"shortcuts": 3, "activations": 3}, "more than the N2 of discrete activations, got 3 with activations = 3"),
        ({"shortcuts": 5, "activations": None}, "got 5 with activations = None"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Precision(**settings)


def test_a_network_without_blocks_has_no_shortcuts():
    with pytest.raises(ValueError, match="shortcuts = 5, but '8C3-10' has no residual block; expected 0"):
        network("8C3-10", (1, 8, 8), Precision(shortcuts=5))
