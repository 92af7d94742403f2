"""Thresholds and scales against PyTorch's own operations, on every integer."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter import folding
from gxnor.exporter.folding import Norm
from gxnor.nn import Activation
from gxnor.program.ops import ALWAYS, NEVER
from gxnor.space import DiscreteSpace

BOUND = 700
SUMS = torch.arange(-BOUND, BOUND + 1)


def random_norm(channels, spread, seed):
    """Batch norm over sums of about `spread`, with channels that rise, fall, stand still and never leave one state."""
    random = torch.Generator().manual_seed(seed)
    module = nn.BatchNorm1d(channels).eval()
    with torch.no_grad():
        module.running_mean.normal_(0, spread, generator=random)
        module.running_var.uniform_(0.1 * spread**2, 2 * spread**2, generator=random)
        module.weight.normal_(generator=random)
        module.bias.normal_(generator=random)
        module.weight[0] = 0
        module.weight[1], module.bias[1] = 1e-6, 5  # always in the highest state
        module.weight[2], module.bias[2] = -1e-6, -5
    return module


@torch.no_grad()
def states(modules, activation, unit, channels):
    """int64 [sums, channels] state indices, by PyTorch."""
    x = (SUMS.double() * unit.numerator / unit.denominator).float()[:, None].expand(-1, channels).contiguous()
    for module in modules:
        x = module(x)
    return np.searchsorted(activation.space.values, activation(x).numpy())


def rule(steps, sign):
    """The same by the program's rule."""
    return (SUMS.numpy()[:, None, None] * sign[:, None] >= steps.astype(np.int64)).sum(2)


@pytest.mark.parametrize("unit", [Fraction(1), Fraction(1, 16), Fraction(1, 9), Fraction(3, 49)], ids=str)
@pytest.mark.parametrize("N", range(8))
def test_thresholds_agree_with_pytorch_on_every_integer(N, unit):
    activation = Activation(N, r=0.3, H=1.5)
    modules = [random_norm(24, BOUND * float(unit) / 3, seed) for seed in (N, N + 10)]
    for chain in (modules[:1], modules, []):
        steps, sign = folding.thresholds([Norm.of(m) for m in chain], activation, activation.space, unit, (24,), BOUND)
        assert steps.dtype == np.int32 and sign.dtype == np.int8 and (np.diff(steps.astype(np.int64)) >= 0).all()
        expected = states(chain, activation, unit, 24)
        assert np.array_equal(rule(steps, sign), expected)
        assert len(np.unique(expected)) == activation.space.size or len(chain) != 1


@pytest.mark.parametrize("N", [0, 1, 2])
def test_sums_that_meet_a_step_exactly(N):
    """Without rounding in the way: phi's steps are open at |x| = r, binary's is closed at 0."""
    activation, norm = Activation(N, r=0.5), Norm.adding(torch.tensor([0.0, 0.25, -0.25]))
    steps, sign = folding.thresholds([norm], activation, activation.space, Fraction(1, 8), (3,), BOUND)
    expected = {
        0: [[0], [-2], [2]],
        1: [[-4, 5], [-6, 3], [-2, 7]],
        2: [[-6, -4, 5, 7], [-8, -6, 3, 5], [-4, -2, 7, 9]],
    }
    assert steps.tolist() == expected[N] and sign.tolist() == [1, 1, 1]


def test_constant_channels_have_no_step():
    module = random_norm(3, 100, 0)
    steps, sign = folding.thresholds([Norm.of(module)], Activation(1), DiscreteSpace(1), Fraction(1), (3, 5, 5), BOUND)
    bias = module.bias[0].item()
    assert steps[0].tolist() == [ALWAYS if bias >= -0.5 else NEVER, ALWAYS if bias > 0.5 else NEVER]
    assert steps[1].tolist() == [ALWAYS, ALWAYS] and steps[2].tolist() == [NEVER, NEVER]
    assert sign.tolist() == [1, 1, 1]


def test_one_integer_and_the_largest_range():
    for bound in (0, 1, 2**31 - 2):
        steps, sign = folding.thresholds([], Activation(1, r=0.5), DiscreteSpace(1), Fraction(1), (1,), bound)
        assert steps.tolist() == ([[ALWAYS, NEVER]] if bound == 0 else [[0, 1]]) and sign.tolist() == [1]


def test_batch_norm_that_is_not_a_number_is_refused():
    for name in ("running_var", "running_mean", "weight", "bias"):
        module = random_norm(3, 100, 0)
        with torch.no_grad():
            getattr(module, name)[1] = torch.nan
        with pytest.raises(GxnorError, match="not finite"):
            folding.thresholds([Norm.of(module)], Activation(1), DiscreteSpace(1), Fraction(1), (3,), 10)


@pytest.mark.parametrize("unit", [Fraction(1), Fraction(1, 16), Fraction(1, 49)], ids=str)
def test_scale_is_batch_norm_but_for_rounding(unit):
    modules = [random_norm(24, BOUND * float(unit) / 3, seed) for seed in (1, 2)]
    for chain in ([], modules[:1], modules):
        scale, bias = folding.affine([Norm.of(module) for module in chain], unit, 24)
        x = (SUMS.double() * float(unit)).float()[:, None].expand(-1, 24).contiguous()
        with torch.no_grad():
            for module in chain:
                x = module(x)
        np.testing.assert_allclose(SUMS.float().numpy()[:, None] * scale + bias, x.numpy(), rtol=1e-5, atol=1e-5)


def test_a_bias_is_added_exactly():
    bias = torch.randn(50, generator=torch.Generator().manual_seed(0))
    x = SUMS.float()[:, None].expand(-1, 50)
    assert torch.equal(Norm.adding(bias)(x), x + bias)
