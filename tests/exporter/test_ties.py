"""Sums in which real numbers became integers: states as PyTorch makes them, where rounding decides, too."""

import numpy as np
import pytest
import torch
from torch import nn

import gxnor
from gxnor.exporter.ties import fitted
from gxnor.nn import Activation
from gxnor.nn.networks import network
from gxnor.nn.precision import Precision
from gxnor.program.ops import ALWAYS, NEVER
from gxnor.runtime.engine import Engine

CHANNELS = 5


def pairs(seed: int, first: int, second: int, unit: float):
    """Two values of a few random real numbers per channel, and their integers of this unit."""
    generator = torch.Generator().manual_seed(seed)
    real = [torch.randn(n, CHANNELS, generator=generator) for n in (first, second)]
    return [(x, (x.double() / unit).round().long()) for x in real]


@pytest.mark.parametrize("first, second", [(1, 1), (40, 3), (3, 40), (30, 30)])
@pytest.mark.parametrize("N", [0, 1, 3])
def test_every_pair_that_integers_can_tell_apart_becomes_its_state(N, first, second):
    activation, unit = Activation(N), 2.0**-7
    space, (a, b) = activation.space, pairs(0, first, second, unit)
    places = [0.0] if N == 0 else [s * (0.5 + k * 0.5 / 2 ** (N - 1)) for k in range(2 ** (N - 1)) for s in (-1, 1)]
    start = torch.tensor(sorted(places)).div(unit).round().int().repeat(CHANNELS, 1).numpy()
    found = fitted(start, activation, space, a, b)
    assert found.dtype == np.int32 and found.flags.c_contiguous and (np.diff(found) >= 0).all()
    wrong = before = 0
    for c in range(CHANNELS):
        real = (a[0][:, None, c] + b[0][None, :, c]).flatten()
        integer = (a[1][:, None, c] + b[1][None, :, c]).flatten().numpy()
        state = np.searchsorted(space.values, activation(real).numpy())
        for k in range(space.size - 1):
            below, above = integer[state <= k], integer[state > k]
            errors = ((integer >= found[c, k]) != (state > k)).sum()
            before += ((integer >= start[c, k]) != (state > k)).sum()
            if not len(below) or not len(above) or below.max() < above.min():
                assert errors == 0
            wrong += errors
    assert wrong <= before
    assert before > 0 or first * second < 900  # else the test would see nothing


def test_thresholds_that_are_right_stay():
    activation = Activation(1)
    numbers = torch.tensor([[-3.0], [0.0], [3.0]]), torch.tensor([[-300], [0], [300]])
    for steps in ([[-50, 51]], [[-299, 300]], [[0, 1]], [[ALWAYS, 7]], [[-7, NEVER]]):
        still = fitted(
            np.int32(steps), activation, activation.space, numbers, (torch.zeros(1, 1), torch.zeros(1, 1).long())
        )
        expected = [max(steps[0][0], -299), min(steps[0][1], 300)]
        assert still.tolist() == [expected]


@pytest.mark.parametrize("shortcuts, step", [(0, 0.5), (0, -0.5), (4, 0.75), (4, -0.25)])
@pytest.mark.filterwarnings("ignore:.*nearly tie")
def test_a_sum_beside_a_step_falls_as_in_the_model(shortcuts, step):
    """Batch norm puts a sum of three on a step, but for less than the program's integers can hold."""
    torch.manual_seed(0)
    net = network("4C3-4R3-AP-3", (1, 9, 8), Precision(shortcuts=shortcuts), padding="same").eval()
    norm = net.block2.norm2
    assert isinstance(norm, nn.BatchNorm2d)
    images = torch.randint(256, (50, 1, 9, 8), dtype=torch.uint8)
    near = []
    with torch.no_grad():
        net.norm1.running_var.fill_(500.0**2)  # a third of the states is 0
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(0.3137)
        for ulps in range(-50, 50):  # until it is over the step
            norm.bias.fill_(step - 0.9411 + abs(step) / step * ulps * 2.0**-25)
            if (norm(torch.full((1, 4, 1, 1), 3.0)) * step > step**2).all():
                break
        reader = net.block2.sum if shortcuts else net.block2.act2
        reader.register_forward_hook(lambda _, given, y: near.append(((given[0] - step).abs() < 2e-7).sum()))
        expected = net(images).numpy()
    assert near[0] > 50
    program = gxnor.export(net, (1, 9, 8), ("a", "b", "c"))
    # One state more or less in the average of 72 places moves a score by 1/72; what PyTorch rounds is far below.
    assert np.abs(Engine(program).run(images.numpy()) - expected).max() < 1e-5
