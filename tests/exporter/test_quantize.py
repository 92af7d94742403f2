"""Real numbers in: training and the exported program see the same levels, to the bit."""

import numpy as np
import pytest
import torch
from torch import nn

import gxnor
import gxnor.nn as gnn
from gxnor.errors import GxnorError
from gxnor.program import file, reference
from gxnor.runtime.network import Network
from gxnor.targets.lowering import lower


def table(rows=300, features=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-3, 3, features)
    x = torch.randn(rows, features, generator=random) * scale + 2 * scale
    x[:, 2] = 7  # never changes
    return x


def network(x, N=5):
    torch.manual_seed(0)
    net = nn.Sequential(
        gnn.Quantize.of(x, N),
        gnn.Linear(6, 16),
        nn.BatchNorm1d(16),
        gnn.Activation(),
        gnn.Linear(16, 3),
        nn.BatchNorm1d(3),
    )
    with torch.no_grad():
        net(x)
    return net.eval()


@pytest.mark.parametrize("N", [1, 4, 7])
def test_a_program_takes_the_floats_that_the_model_takes(N, tmp_path):
    x = table()
    net = network(x, N)
    assert gxnor.check(net, (6,)).exports
    program = gxnor.export(net, (6,), ("a", "b", "c"), samples=x[:50].numpy())
    beyond = torch.cat([x, 10 * table(seed=1), -table(seed=2)])
    with torch.no_grad():
        expected = net(beyond)
        levels = net[0](beyond).numpy()
    np.testing.assert_array_equal(reference.trace(program, beyond.numpy())[0], levels)
    program.save(tmp_path / "net.gxnor")
    loaded = gxnor.load(tmp_path / "net.gxnor")
    np.testing.assert_array_equal(loaded.predict(beyond.numpy()), expected.argmax(1).numpy())
    assert file.encode(file.read(tmp_path / "net.gxnor")) == file.encode(program)


def test_levels_and_ends():
    layer = gnn.Quantize([0.0, -1.0], [4.0, 1.0], N=2)
    x = torch.tensor([[0.0, -1.0], [0.5, -0.75], [1.5, 0.1], [4.0, 1.0], [99.0, -99.0]])
    assert layer(x).tolist() == [[-2, -2], [-2, -2], [0, 0], [2, 2], [2, -2]]  # halves go to the even index


def test_channels_of_sequences_have_their_own_levels():
    layer = gnn.Quantize([0.0, 10.0], [2.0, 12.0], N=1)
    assert layer(torch.tensor([[[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]]])).tolist() == [[[-1, 0, 1], [-1, 0, 1]]]


def test_what_is_no_number_or_no_range_is_refused():
    x = table()
    net = network(x)
    program = gxnor.export(net, (6,), 3)
    x[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        net(x)
    with pytest.raises(GxnorError, match="NaN"):
        Network(program).predict(x.numpy())
    for low, high, N in ((1, 1, 3), (2, 1, 3), (0, 1, 0), (float("nan"), 1, 3)):
        with pytest.raises(ValueError):
            gnn.Quantize(low, high, N)
    with pytest.raises(GxnorError, match="real input"):
        gxnor.export(nn.Sequential(gnn.Linear(6, 6), gnn.Quantize(0, 1)), (6,), 6, space=gxnor.DiscreteSpace(1))


def test_a_target_that_would_lose_the_levels_refuses():
    program = gxnor.export(network(table()), (6,), 3)
    with pytest.raises(GxnorError, match="takes real numbers"):
        lower(program)
