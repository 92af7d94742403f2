"""Blocks of networks as users write them: residual sums, concatenations, paddings, and arithmetic with constants."""

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gxnor
import gxnor.nn as gnn
from gxnor.errors import GxnorError
from gxnor.program import reference
from gxnor.program.ops import Requantize
from gxnor.runtime.engine import Engine
from gxnor.runtime.network import Network
from tests.exporter.models import fitted, images, stem


class Net(nn.Module):
    """A stem, `body` on 8 channels of 8x8 states, and scores of what it gives, which has `features`."""

    def __init__(self, body, features, **parts):
        super().__init__()
        self.stem, self.body, self.parts = stem(), body, nn.ModuleDict(parts)
        self.fc, self.norm = gnn.Linear(features, 5), nn.BatchNorm1d(5)

    def forward(self, x, target=None):
        y = self.body(self.stem(x), **self.parts).flatten(1)
        return self.norm(self.fc(y)) if target is None else F.cross_entropy(self.norm(self.fc(y)), target)


def check(body, features, exact=True, **parts):
    """Exports a network and compares all predictions; warnings are for networks that are not exact."""
    torch.manual_seed(0)
    x = images((2, 8, 8))
    net = fitted(Net(body, features, **parts), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if exact else "ignore")
        program = gxnor.export(net, (2, 8, 8), 5, samples=x.numpy())
    logits = reference.run(program, x.numpy())
    with torch.no_grad():
        expected = net(x).numpy()
    if exact:
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-4)
    assert (logits.argmax(1) == expected.argmax(1)).mean() >= (1 if exact else 0.95)
    np.testing.assert_array_equal(Engine(program).run(x.numpy()), logits)
    return program


def act():
    return gnn.Activation(1, r=0.3)


def conv(inputs, outputs, kernel=1, norm=True, **options):
    layers = [gnn.Conv2d(inputs, outputs, kernel, **options), *([nn.BatchNorm2d(outputs)] if norm else [])]
    return nn.Sequential(*layers)


def fitting(x, like):
    """As a U-Net pads what has become too small, with checks on the way."""
    assert x.dim() == 4 and x.size(1) == 8
    if x.ndim == 3:
        x = x.unsqueeze(0)
    if x.shape[2:] != like.shape[2:] or len(x.shape) != 4:
        missing = like.size(2) - x.size(2)
        x = F.pad(x, (missing // 2, missing - missing // 2) * 2)
    return x if math.prod(x.shape[1:]) == 512 else -x


def by_hand(x, groups=4):
    batch, channels, height, width = x.shape
    x = x.view(batch, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(batch, -1, height, width)


EXACT = {
    "cat of states": (lambda x, a: torch.cat([a(x), x], 1), 16 * 64, {"a": nn.Sequential(conv(8, 8), gnn.Activation(2))}),
    "cat of sums and norm": (
        lambda x, a, b, n: n(torch.cat((a(x), b(x), a(x)), dim=1)), 20 * 64,
        {"a": conv(8, 8, norm=False), "b": conv(8, 4, norm=False), "n": nn.Sequential(nn.BatchNorm2d(20), act())},
    ),
    "cat of one": (lambda x: torch.cat([x], 1), 8 * 64, {}),
    "sub": (lambda x, a: torch.sub(a(x), x) - x, 8 * 64, {"a": conv(8, 8, norm=False)}),
    "neg": (lambda x: -x, 8 * 64, {}),
    "sum": (lambda x: x.sum((2, 3)), 8, {}),
    "sum, kept": (lambda x: torch.sum(x, dim=(-1, -2), keepdim=True).squeeze(-1).squeeze(-1), 8, {}),
    "amax": (lambda x, a: a(x).amax((2, 3)), 8, {"a": conv(8, 8, norm=False)}),
    "amax after a norm": (lambda x, a, c: c(a(x).amax((2, 3), keepdim=True)).squeeze(), 8, {"a": conv(8, 8), "c": act()}),
    "adaptive max": (lambda x: F.adaptive_max_pool2d(x, (2, 4)), 64, {}),
    "adaptive average": (lambda x: F.adaptive_avg_pool2d(x, (4, 2)), 64, {}),
    "zero pad": (lambda x, a: a(x), 8 * 9 * 10, {"a": nn.Sequential(nn.ZeroPad2d((0, 2, 1, 0)), conv(8, 8), act())}),
    "F.pad": (lambda x: F.pad(x, (1, 0)), 8 * 72, {}),
    "even same": (lambda x, a: a(x), 8 * 64, {"a": nn.Sequential(conv(8, 8, 4, padding="same"), act())}),
    "nearest": (lambda x, a: a(F.interpolate(x, scale_factor=2)), 8 * 256, {"a": nn.Sequential(conv(8, 8), act())}),
    "nearest after a norm": (
        lambda x, a, u, c: c(u(a(x))), 8 * 16 * 24, {"a": conv(8, 8), "u": nn.Upsample((16, 24)), "c": act()},
    ),
    "shuffle": (lambda x, a: a(x), 8 * 64, {"a": nn.Sequential(conv(8, 8), nn.ChannelShuffle(4), act())}),
    "chunk": (lambda x: x.chunk(2, 1)[1], 4 * 64, {}),
    "split and add": (lambda x: x.split(4, dim=1)[0] + x.split(4, dim=1)[1], 4 * 64, {}),
    "channels": (lambda x: x[:, 2:5], 3 * 64, {}),
    "a shuffle by hand": (
        lambda x, a, c: c(by_hand(a(x))), 8 * 64,
        {"a": conv(8, 8), "c": act()},
    ),
    "mean of flat places": (lambda x: x.flatten(2).mean(2), 8, {}),
    "mean of flat places, viewed": (lambda x: x.view(x.size(0), 8, -1).mean(-1), 8, {}),
    "largest of flat places": (lambda x, a: a(x).flatten(2).max(2)[0], 8, {"a": conv(8, 8, norm=False)}),
    "torch.max": (lambda x: torch.max(x.flatten(2), dim=-1).values, 8, {}),
    "mean of rows": (lambda x: x.mean(3, keepdim=True), 64, {}),
    "largest of columns, of a norm": (lambda x, a, c: c(a(x)).amax(-2, keepdim=True), 64, {"a": conv(8, 8), "c": act()}),
    "adaptive to more places": (lambda x: F.adaptive_avg_pool2d(F.max_pool2d(x, 4), (6, 2)), 8 * 12, {}),
    "adaptive max to more places": (lambda x: F.adaptive_max_pool2d(x, (4, 16)), 8 * 64, {}),
    "nearest-exact": (lambda x: F.interpolate(x, size=(16, 8), mode="nearest-exact"), 8 * 128, {}),
    "every second place": (lambda x: x[:, :, ::2, ::3], 8 * 12, {}),
    "every second place of a norm": (lambda x, a, c: c(a(x)[..., ::2]), 8 * 32, {"a": conv(8, 8), "c": act()}),
    "largest of a norm, and more": (
        lambda x, a, b, c: c(b(F.max_pool2d(a(x), 3, 2, 1))), 8 * 16, {"a": conv(8, 8), "b": nn.BatchNorm2d(8), "c": act()},
    ),
    "largest of a norm, flat": (
        lambda x, a, c: c(F.max_pool2d(a(x), 2).flatten(1) * 0.5), 8 * 16, {"a": conv(8, 8), "c": act()},
    ),
    "the last place": (lambda x: x[..., -1, -1], 8, {}),
    "a place of some channels of a norm": (lambda x, a, c: c(a(x)[:, 1:7:2, 3, -2]), 3, {"a": conv(8, 8), "c": act()}),
    "fewer places of a convolution": (
        lambda x, a, c: c(a(x)[:, :, :-3, 1:-1]), 8 * 42, {"a": conv(8, 8, 3, padding=(3, 2), dilation=2), "c": act()},
    ),
    "fewer places, in steps": (
        lambda x, a, c: c(a(x)[:, :, 1:-1:2, :-1]), 8 * 25, {"a": conv(8, 8, 3, padding=3, stride=(1, 2)), "c": act()},
    ),
    "zero channels": (lambda x: F.pad(x[:, :, ::2, ::2], (1, 0, 0, 0, 2, 3)), 13 * 20, {}),
    "zero channels after": (lambda x, a: F.pad(a(x), (0, 0, 0, 0, 0, 9)), 17 * 64, {"a": conv(8, 8, norm=False)}),
    "branches on shapes": (lambda x, a: fitting(a(x), x), 8 * 64, {"a": nn.Sequential(conv(8, 8, 3), act())}),
    "add_": (lambda x, a: a(x).add_(x), 8 * 64, {"a": conv(8, 8, norm=False)}),
    "a constant per channel": (
        lambda x, a, c: c((a(x) - torch.arange(8.0).view(1, 8, 1, 1)) / 3), 8 * 64, {"a": conv(8, 8), "c": act()},
    ),
    "one minus": (lambda x, a, c: c(1 - a(x)), 8 * 64, {"a": conv(8, 8), "c": act()}),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_blocks_that_are_exact(name):
    body, features, parts = EXACT[name]
    program = check(body, features, **parts)
    assert not any(isinstance(layer, Requantize) and layer.shift for layer in program.layers)  # but signs


BRANCH = {"a": conv(8, 8, 3, padding=1), "c": act()}
REAL = {
    "identity shortcut": (lambda x, a, c: c(a(x) + x), 8 * 64, BRANCH),
    "projection with norm": (lambda x, a, b, c: c(a(x) + b(x)), 8 * 64, {**BRANCH, "b": conv(8, 8)}),
    "a stream of sums": (lambda x, a, b, c: c(x + a(x) + b(c(a(x)))), 8 * 64, {**BRANCH, "b": conv(8, 8)}),
    "linear bottleneck": (lambda x, a, b, c: c(b(a(x))), 8 * 64, {**BRANCH, "b": conv(8, 8, 3, padding=1)}),
    "average between norm and activation": (lambda x, a, c: c(F.avg_pool2d(a(x), 2)), 8 * 16, BRANCH),
    "mean of a norm": (lambda x, a, c: a(x).mean((2, 3)), 8, BRANCH),
    "cat of norms": (lambda x, a, b, c: c(torch.cat((a(x), x, b(x)), 1)), 24 * 64, {**BRANCH, "b": conv(8, 8)}),
    "padding after a norm": (lambda x, a, c: c(F.pad(a(x), (1, 1))), 8 * 80, BRANCH),
    "times a constant": (lambda x, a, c: c(a(x) * -0.7 + x / 9), 8 * 64, BRANCH),
}


@pytest.mark.parametrize("name", REAL)
def test_blocks_with_real_numbers_inside_stay_integers(name):
    body, features, parts = REAL[name]
    program = check(body, features, exact=False, **parts)
    assert any(isinstance(layer, Requantize) for layer in program.layers)


@pytest.mark.parametrize("front", [
    lambda: [gnn.Pixels(), nn.BatchNorm2d(2)],
    lambda: [gnn.Pixels(), Standardise(lambda x: x / 255)],
    lambda: [Standardise(lambda x: x / 255)],
    lambda: [Standardise(lambda x: x.float() / 255)],
    lambda: [Standardise(lambda x: x.to(torch.float32).div(255.0))],
])  # fmt: skip
def test_pixels_that_the_model_standardises(front):
    torch.manual_seed(0)
    x = images((2, 8, 8))
    net = Net(lambda x: x, 8 * 64)
    fronts = front()
    net.stem = nn.Sequential(*fronts, *list(net.stem)[1:])
    net = fitted(net, x)
    with pytest.warns(
        RuntimeWarning, match=f"real numbers become integers before stem.{len(fronts)}: predictions can differ where"
    ):
        program = gxnor.export(net, (2, 8, 8), 5)
    with torch.no_grad():
        agreed = reference.run(program, x.numpy()).argmax(1) == net(x).argmax(1).numpy()
    assert agreed.mean() >= 0.95


class Standardise(nn.Module):
    def __init__(self, scaled):
        super().__init__()
        self.scaled = scaled
        self.register_buffer("mean", torch.tensor([0.1, -0.2]).view(1, 2, 1, 1))
        self.register_buffer("std", torch.tensor([0.3, 0.5]).view(1, 2, 1, 1))

    def forward(self, x):
        return (self.scaled(x) - self.mean) / self.std


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.LogSoftmax(1), nn.ReLU(), nn.Sigmoid()])
def test_an_end_that_a_program_needs_not_is_left_out_with_a_word(end):
    torch.manual_seed(0)
    x = images((4,))
    net = nn.Sequential(gnn.Pixels(), gnn.Linear(4, 3), nn.BatchNorm1d(3), end)
    net = fitted(net, x)
    with pytest.warns(RuntimeWarning, match=f"{type(end).__name__} at the end is left out"):
        program = gxnor.export(net, (4,), 3)
    with torch.no_grad():
        np.testing.assert_allclose(reference.run(program, x.numpy()), net[:-1](x).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spread", [
    lambda b, x: b.view(1, -1, 1, 1), lambda b, x: b[:, None, None], lambda b, x: b.reshape(1, 8, 1, 1).expand_as(x),
])  # fmt: skip
def test_constants_per_channel_in_any_form(spread):
    """A trained shift, as ReActNet has it, and a trained factor."""
    shift, factor = nn.Parameter(torch.linspace(-1, 1, 8)), nn.Parameter(torch.linspace(-0.5, 1, 8))

    def body(x, a, c):
        return c((x + spread(shift, x)) * spread(factor, x) + a(x))

    check(body, 8 * 64, exact=False, a=conv(8, 8, 3, padding=1), c=act())


class End(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("end", [
    lambda y: y.squeeze(1), lambda y: torch.squeeze(y, -1), lambda y: y.squeeze(), lambda y: y[:, 0], torch.tanh,
    torch.sigmoid,
])  # fmt: skip
def test_one_score_may_come_without_its_axis(end):
    torch.manual_seed(0)
    x = images((4,))
    net = fitted(nn.Sequential(gnn.Pixels(), gnn.Linear(4, 1), nn.BatchNorm1d(1), End(end)), x)
    with pytest.warns(RuntimeWarning, match="at the end is left out"):
        program = gxnor.export(net, (4,), 1)
    with torch.no_grad():
        np.testing.assert_allclose(reference.run(program, x.numpy()), net[:-1](x).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cut", [lambda x: x[:, :, 2:], lambda x: x[..., :-5]])
def test_places_that_a_convolution_made_of_its_input_are_not_cut(cut):
    with pytest.raises(GxnorError, match="made of the zeros around, got further ones"):
        gxnor.export(Net(lambda x, a: cut(a(x)), 1, a=conv(8, 8, 3, padding=1)), (2, 8, 8), 5)


def test_scores_for_every_place():
    torch.manual_seed(0)
    x = images((2, 8, 8))
    net = nn.Sequential(*Net(None, 1).stem, gnn.Conv2d(8, 3, 1), nn.BatchNorm2d(3))
    net = fitted(net, x)
    program = gxnor.export(net, (2, 8, 8), ("sky", "sea", "land"))
    with torch.no_grad():
        expected = net(x).numpy()
    np.testing.assert_allclose(reference.run(program, x.numpy()), expected, rtol=1e-5, atol=1e-5)
    network = Network(program)
    assert np.array_equal(network.predict(x.numpy()), expected.argmax(1))
    assert np.array_equal(network.predict(x.numpy()[0]), expected[0].argmax(0))


@pytest.mark.parametrize("body, words", [
    (lambda x: F.interpolate(x, scale_factor=1.5), "whole factors"),
    (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "expected mode='nearest'"),
    (lambda x: torch.cat([x, x], 2), "expected to concatenate channels"),
    (lambda x: F.pad(x, (1, 1), value=1.0), "expected padding with zeros"),
    (lambda x: F.pad(x, (1, 1), mode="reflect"), "expected padding with zeros"),
    (lambda x: x * x, "multiplies or divides two values"),
    (lambda x: x[:, :, 1:], "places of a convolution alone, right after it"),
    (lambda x: F.conv2d(x, x)[:, :, 1:], "conv2d: no operation of an integer program: take the module"),
    (lambda x: x[:, :, 0], "with slices or for all axes of places numbers"),
    (lambda x: x[0], "with slices or for all axes of places numbers"),
    (lambda x: x[:, 20:], "with slices or for all axes of places numbers"),
    (lambda x: x[:, :, 9:], "places in rising order, one or more"),
    (lambda x: x[:, :, :, :, 0], "at most 4 indices"),
    (lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 1)), "padding of extents and channels"),
    (lambda x: x.squeeze(0), "got the batch"),
    (lambda x: x.sum(1), "all dimensions but batch and channels"),
    (lambda x: torch.relu(x) + x, "ReLU is a real activation"),
    (lambda x: x / torch.zeros(1), "expected a finite constant"),
    (lambda x: F.adaptive_avg_pool2d(x, 3), "windows differ in size: take one that does"),
    (lambda x: x.permute(0, 2, 3, 1), r"permute: no operation of an integer program: take \(batch, channels, height"),
    (lambda x: x.transpose(1, 2), "nn.ChannelShuffle reorders channels"),
    (lambda x: torch.stack([x, x], 1), "stack: no operation of an integer program: take torch.cat"),
    (lambda x: x.clamp(-1, 1), "take gxnor.nn.Activation"),
    (lambda x: torch.maximum(x, x), "take a sum of both"),
    (lambda x: x.erf(), "erf: no operation of an integer program: docs/own-model.md lists those that are"),
    (lambda x: x.view(-1, 8, 4, 16), "or channels to groups and back"),
    (lambda x: x.mean(1), "all dimensions but batch and channels"),
    (lambda x: x.mean(3), "with keepdim=True"),
    (lambda x: x if x.mean() > 0 else -x, r"at test_blocks.py, line \d+: .*its shapes may decide, its values"),
    (lambda x: x if x.flatten(1)[0, 0] > 0 else -x, "its shapes may decide, its values"),
    (lambda x: x if x.shape[0] == 2 else -x, "and the size of the batch may not"),
    (lambda x: next(x for _ in range(x.shape[1])), "cannot trace the model at test_blocks.py"),
    (lambda x: torch.max(x.flatten(2), 2)[1], "expected"),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_what_was_expected(body, words):
    with pytest.raises(GxnorError, match=words):
        gxnor.export(Net(body, 8 * 64), (2, 8, 8), 5)


def test_a_model_of_two_inputs_is_told_to_join_them():
    class Two(nn.Module):
        def forward(self, image, features, target=None):
            return image + features

    with pytest.raises(GxnorError, match="forward takes image, features: expected one input"):
        gxnor.export(Two(), (2, 8, 8), 5)


def test_a_channel_that_hardly_changes_leaves_the_others_fine_integers():
    """Batch norm scales it up, and after an addition the bound no longer says that it is one channel of many."""
    norm, read = nn.BatchNorm2d(8), conv(8, 8)

    def body(x, norm, read, act):
        return act(read(norm(x) + x))

    torch.manual_seed(0)
    x = images((2, 8, 8))
    net = fitted(Net(body, 8 * 64, norm=norm, read=read, act=act()), x)
    norm.running_var[0], norm.running_mean[0] = 0, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = gxnor.export(net, (2, 8, 8), 5)
    fixed = [i for i, layer in enumerate(program.layers, start=1) if isinstance(layer, Requantize)]
    assert program.values[fixed[-1]].bound > 2**20
