"""Exported programs against the models they come from: every sum, every state, every prediction."""

import itertools
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gxnor.data import load as load_data
from gxnor.exporter import export, layers
from gxnor.nn import Activation, Conv1d, Conv2d, Linear, phi
from gxnor.nn.networks import MNIST, network
from gxnor.nn.pixels import Pixels
from gxnor.nn.precision import PRECISIONS, Precision
from gxnor.program import file, reference
from gxnor.runtime.engine import Engine
from gxnor.space import DiscreteSpace
from tests.exporter.checking import BATCH, check, fit, kinds, pixels, seeded


@pytest.mark.parametrize("N1, N2", [*itertools.product(range(5), range(5)), (7, 7)])
def test_every_pair_of_spaces(N1, N2):
    precision = Precision(N1, N2, latent=(N1 + N2) % 2 == 1, r=0.3)
    check(lambda: network("8C3-MP2-9C3-12FC-5", (2, 11, 10), precision), (2, 11, 10))
    check(lambda: network("4C3-8C3-MP3-5", (1, 9, 7), precision, "same"), (1, 9, 7))


CONVOLUTIONS = [
    {"kernel_size": 1},
    {"kernel_size": 4},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "padding": 2},
    {"kernel_size": 3, "dilation": 2},
    {"kernel_size": 2, "groups": 2},
    {"kernel_size": 3, "groups": 4, "padding": 1},
    {"kernel_size": 5, "padding": "same", "bias": True},
    {"kernel_size": 4, "padding": "same", "dilation": 2},
    {"kernel_size": 3, "padding": "valid", "stride": 3},
    {"kernel_size": 3, "stride": 2, "padding": 3, "dilation": 2, "groups": 2, "bias": True},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("N", [0, 1, 2])
def test_every_convolution(options, N):
    for conv, norm, shape in ((Conv1d, nn.BatchNorm1d, (2, 17)), (Conv2d, nn.BatchNorm2d, (2, 13, 12))):
        features = conv(4, 8, **options)(conv(2, 4, 3)(torch.zeros(1, *shape))).numel()
        check(
            lambda conv=conv, norm=norm, features=features: nn.Sequential(
                Pixels(), conv(2, 4, 3, N=N), norm(4), Activation(N, r=0.2), conv(4, 8, **options, N=N), norm(8),
                Activation(N, r=0.2), nn.Flatten(), Linear(features, 3, N=N), nn.BatchNorm1d(3),
            ),
            shape,
        )  # fmt: skip


def test_a_kernel_that_is_not_square():
    check(
        lambda: nn.Sequential(
            Pixels(), Conv2d(3, 6, (1, 4), stride=(2, 1), padding=(0, 3), dilation=(1, 2)), nn.BatchNorm2d(6),
            Activation(), nn.Flatten(), Linear(6 * 4 * 6, 4),
        ),
        (3, 7, 6),
    )  # fmt: skip


def block(*modules, channels=6, features=6):
    """A network whose second part is given."""
    return lambda: nn.Sequential(
        Pixels(), Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), Activation(2), Conv2d(6, channels, 3, padding=1),
        *[make() for make in modules], nn.Flatten(), Linear(features, 5), nn.BatchNorm1d(5),
    )  # fmt: skip


NORM = lambda: nn.BatchNorm2d(6)  # noqa: E731
ACT = lambda: Activation(2, r=0.2)  # noqa: E731


@pytest.mark.parametrize(
    "modules, features",
    [
        ([lambda: nn.MaxPool2d(2), NORM, ACT], 96),  # the order of the paper
        ([NORM, lambda: nn.MaxPool2d(2), ACT], 96),  # after batch norm, which may fall
        ([NORM, ACT, lambda: nn.MaxPool2d(2)], 96),
        ([NORM, lambda: nn.MaxPool2d(3, 2, 1), lambda: nn.MaxPool2d(2, ceil_mode=True), ACT], 24),
        ([lambda: nn.MaxPool2d((3, 2), (1, 2), (1, 0), (2, 1)), NORM, ACT], 144),
        ([lambda: nn.AvgPool2d(2), NORM, ACT], 96),
        ([lambda: nn.AvgPool2d(3), NORM, ACT], 24),  # sums divided by 9: PyTorch's quotients are rounded
        ([lambda: nn.AvgPool2d(3, 2, 1), NORM, ACT], 96),
        ([lambda: nn.AvgPool2d(2, 3, divisor_override=7), NORM, ACT], 54),
        ([lambda: nn.AvgPool2d(2, ceil_mode=True), NORM, ACT], 96),
        ([NORM, ACT, lambda: nn.AvgPool2d(4)], 24),
        ([lambda: nn.AdaptiveAvgPool2d(1), NORM, ACT], 6),
        ([lambda: nn.AvgPool2d((3, 5)), NORM, lambda: nn.MaxPool2d((2, 1)), ACT], 6),
        ([NORM, ACT, lambda: nn.AdaptiveAvgPool2d((1, 1)), lambda: nn.Dropout(0.7), nn.Identity], 6),
        ([NORM, NORM, lambda: nn.BatchNorm2d(6, affine=False), ACT], 384),
        ([NORM, lambda: nn.MaxPool2d(2), nn.Flatten, ACT], 96),
        ([lambda: nn.Flatten(1), lambda: nn.BatchNorm1d(384), ACT], 384),
        ([NORM, nn.Flatten, ACT, lambda: Linear(384, 6), ACT], 6),
    ],
)  # fmt: skip
def test_every_pooling_and_order(modules, features):
    check(block(*modules, features=features), (2, 8, 8))


def test_activations_without_batch_norm_and_biases_without_activations():
    check(
        lambda: nn.Sequential(
            Pixels(), Conv1d(1, 8, 3, bias=True), Activation(2, r=100, H=300), nn.AvgPool1d(2), nn.MaxPool1d(2, 1),
            Activation(1, r=0.25), nn.Flatten(), Linear(24, 9, bias=True, N=0), Activation(0), Linear(9, 4, bias=True),
        ),
        (1, 10),
    )  # fmt: skip


class Residual(nn.Module):
    """Two residual blocks, the second strided with a shortcut of its own, in functions as far as there are any."""

    def __init__(self, N1=1, N2=2):
        super().__init__()
        self.pixels, self.act = Pixels(), Activation(N2, r=0.2)
        self.conv1, self.norm1 = Conv2d(3, 8, 3, padding=1, N=N1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = Conv2d(8, 8, 3, padding=1, N=N1), nn.BatchNorm2d(8)
        self.conv3, self.norm3 = Conv2d(8, 8, 3, padding=1, N=N1), nn.BatchNorm2d(8)
        self.short = Conv2d(8, 8, 1, N=2)
        self.fc, self.norm4 = Linear(8, 5, N=N1), nn.BatchNorm1d(5)

    def forward(self, x):
        x = F.max_pool2d(self.conv1(self.pixels(x)), 3, stride=2, padding=1)
        x = self.act(self.norm1(x))
        y = self.conv2(x)
        y += x
        y = self.act(self.norm2(y))
        y = F.avg_pool2d(self.conv3(F.dropout(y, 0.5, self.training)), 2)
        y = torch.add(y, self.short(F.max_pool2d(x, 2)).contiguous())
        y = self.act(self.norm3(y))
        y = y.mean((2, 3), keepdim=True)
        return self.norm4(self.fc(y.view(y.size(0), -1)))


@pytest.mark.parametrize("N1, N2", [(0, 0), (0, 3), (1, 1), (1, 2), (3, 0), (4, 4)])
def test_residual_networks(N1, N2):
    program = check(lambda: Residual(N1, N2), (3, 16, 16))
    assert kinds(program).count("Add") == 2
    # Sums of conv2 come in steps of 1 / (w a), activations in steps of 1 / a, so they enter w times.
    assert program.layers[kinds(program).index("Add")].factors == (1, DiscreteSpace(N1).denominator)


class Functions(nn.Module):
    """What `Residual` has no use for."""

    def __init__(self):
        super().__init__()
        self.pixels, self.conv, self.norm = Pixels(), Conv1d(2, 6, 3), nn.BatchNorm1d(6)
        self.conv2, self.fc, self.fc2 = Conv1d(6, 3, 3), Linear(6, 4), Linear(6, 4)

    def forward(self, x):
        x = phi(self.norm(F.max_pool1d(self.conv(self.pixels(x)), 2, ceil_mode=True)), 2, r=0.2)
        x = torch.max_pool1d(F.avg_pool1d(x, 2, 1), kernel_size=2, stride=1).add(F.max_pool1d(x, 3, 1))
        whole = x.mean(-1, keepdim=True) + F.adaptive_avg_pool1d(x, 1) + torch.mean(x, dim=[2], keepdim=True)
        x = self.conv2(x)
        x = torch.reshape(x, (-1, x.shape[1] * x.shape[2] + 0))
        return self.fc(x) + self.fc2(torch.flatten(whole, 1))


def test_functions_and_sizes():
    program = check(Functions, (2, 14), phi_is_called=True)
    assert kinds(program).count("SumPool") == 4 and kinds(program)[-2:] == ["Add", "Scale"]


def test_values_times_and_by_a_number():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.pixels, self.first, self.act = Pixels(), Activation(3, r=0.1), Activation(2, r=0.2)
            self.conv, self.norm, self.fc = Conv1d(3, 4, 2), nn.BatchNorm1d(4), Linear(12, 3)

        def forward(self, x):
            x = self.first(self.pixels(x) / 255)
            x = self.act(self.norm(0.25 * self.conv(x)))
            return self.fc(x.flatten(1) * 2) / 7

    check(Scaled, (3, 4))


def test_real_pixels_in_front_of_a_weighted_layer_are_rounded_by_pytorch():
    class Real(nn.Module):
        def __init__(self):
            super().__init__()
            self.pixels, self.conv, self.norm, self.act = Pixels(), Conv1d(3, 4, 2), nn.BatchNorm1d(4), Activation()
            self.fc = Linear(12, 3)

        def forward(self, x):
            return self.fc(self.act(self.norm(self.conv(self.pixels(x) / 255))).flatten(1))

    x = pixels((3, 4), 50)
    model = fit(seeded(Real), x)
    with pytest.warns(RuntimeWarning, match="the sums of conv, "):
        program = export(model, (3, 4), "abc")
    with torch.no_grad():
        assert np.array_equal(reference.run(program, x.numpy()), model(x).numpy())


def test_a_network_whose_input_is_states():
    space = DiscreteSpace(3)
    x = torch.from_numpy(space.random((BATCH, 12), np.random.default_rng(0)))
    values = torch.from_numpy(space.value(x.numpy()))
    check(lambda: nn.Sequential(Linear(12, 9), nn.BatchNorm1d(9), Activation(), Linear(9, 3)), (12,), space, values)


def test_the_model_is_left_as_it_is_in_whatever_precision_and_mode():
    x = pixels((1, 9, 9))
    model = fit(seeded(lambda: network("4C3-MP2-5", (1, 9, 9))), x)
    expected = export(model, (1, 9, 9), "abcde")
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    again = export(model, (1, 9, 9), "abcde")
    assert file.encode(again) == file.encode(expected)
    assert model.training and all(torch.equal(before[k] * 1, v * 1) for k, v in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32
    assert file.encode(export(model.to(memory_format=torch.channels_last), (1, 9, 9), "abcde")) == file.encode(expected)


def test_exact_ties_go_to_the_first_class_as_in_pytorch():
    model = seeded(lambda: nn.Sequential(Pixels(), nn.Flatten(), Linear(4, 6), nn.BatchNorm1d(6))).eval()
    model[2].weight.set_indices(model[2].weight.indices()[[0, 0, 1, 1, 0, 1]])
    x = pixels((4,), 200)
    with torch.no_grad():
        predicted = model(x).argmax(1).numpy()
    program = export(model, (4,), "abcdef")
    assert set(predicted) == {0, 2}
    assert np.array_equal(reference.run(program, x.numpy()).argmax(1), predicted)


def test_a_range_that_is_no_power_of_two_gives_the_same_program_up_to_rounding():
    def make():
        return nn.Sequential(
            Pixels(), Conv2d(1, 4, 3, H=0.3), nn.BatchNorm2d(4), Activation(), nn.Flatten(), Linear(36, 3, H=0.3)
        )

    x = pixels((1, 5, 5), 40)
    model = fit(seeded(make), x)
    with pytest.warns(RuntimeWarning):
        program = export(model, (1, 5, 5), "abc")
    with torch.no_grad():
        scores = model(x).numpy()
    np.testing.assert_allclose(reference.run(program, x.numpy()), scores, atol=1e-5)


@pytest.mark.skipif(not os.environ.get("GXNOR_DATA"), reason="needs MNIST: set GXNOR_DATA to the folder that holds it")
def test_real_mnist():
    images = torch.from_numpy(load_data("mnist").test_images[:1000])
    model = fit(seeded(lambda: network(MNIST, (1, 28, 28), PRECISIONS["gxnor"])), images[:200])
    with torch.no_grad():
        expected = model(images).argmax(1).numpy()
    program = export(model, (1, 28, 28), [str(i) for i in range(10)])
    assert np.array_equal(reference.run(program, images[:100].numpy()).argmax(1), expected[:100])
    assert np.array_equal(Engine(program).run(images.numpy()).argmax(1), expected)


@pytest.mark.parametrize("N", [0, 1, 2, 4])
def test_a_packed_weight_crosses_into_the_program_as_it_lies(N, monkeypatch):
    """Nothing unpacks it on the way, and training on does not change a program that was made."""
    layer = Linear(300, 20, N=N)
    before = layer.weight.packed.clone()
    with monkeypatch.context() as on_the_way:
        on_the_way.setattr("gxnor.nn.parameter.unpack_indices", None)
        on_the_way.setattr("gxnor.program.values.pack_bits", None)
        weight = layers._states(layer)
    layer.weight.set_indices(torch.zeros_like(layer.weight.indices()))
    assert weight.packed.tobytes() == before.numpy().tobytes()
    assert weight.space == DiscreteSpace(N) and weight.shape == (20, 300)
