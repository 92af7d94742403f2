"""Weights that become states are scaled, and the norm after them takes the scale in."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from gxnor.nn import PRECISIONS, Precision, discretize
from gxnor.nn.projection import best_scale, nearest, project
from gxnor.space import DiscreteSpace
from tests.nn.own_models import mlp

KINDS = {
    "linear": lambda eps: ([nn.Linear(20, 6), nn.BatchNorm1d(6, eps)], (50, 20)),
    "conv": lambda eps: ([nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, eps)], (50, 3, 8, 8)),
    "conv and pooling": lambda eps: ([nn.Conv2d(3, 6, 3), nn.MaxPool2d(2), nn.BatchNorm2d(6, eps)], (50, 3, 8, 8)),
    "no gamma": lambda eps: ([nn.Conv1d(3, 6, 3), nn.BatchNorm1d(6, eps, affine=False)], (50, 3, 9)),
    "no statistics": lambda eps: ([nn.Linear(20, 6), nn.BatchNorm1d(6, eps, track_running_stats=False)], (50, 20)),
}


def scaled_states(kind: str, N: int, scale: float, eps: float, var: float, dtype=torch.float32):
    """A layer whose weights are `scale` times states of Z_N, its norm with running variances around `var`, and images."""
    torch.manual_seed(0)
    modules, shape = KINDS[kind](eps)
    model = nn.Sequential(*modules).double()
    layer, norm = model[0], model[-1]
    with torch.no_grad():
        states = DiscreteSpace(N).random(layer.weight.shape, np.random.default_rng(N))
        layer.weight.copy_(torch.from_numpy(DiscreteSpace(N).value(states)).double() * scale)
        layer.bias.normal_(std=3 * scale)
        for name, parameter in norm.named_parameters():
            parameter.uniform_(0.5, 2) if name == "weight" else parameter.normal_()
        if norm.running_mean is not None:
            norm.running_mean.normal_(std=scale)
            norm.running_var.uniform_(0.5 * var, 2 * var)
            norm.running_var[0] = 0  # of a channel that is dead
    return model.to(dtype).eval(), torch.randn(shape, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("N, scale", [(1, 0.03), (0, 1e-3), (2, 1e-6), (7, 0.5), (1, 40.0), (3, 3e4)])
@pytest.mark.parametrize("eps", [1e-5, 1e-12, 1.0])
def test_only_the_rounding_changes_what_a_norm_puts_out(kind, N, scale, eps):  # pytorch/vision#648, onnxruntime#17981
    """Weights that are scaled states already: in evaluation mode nothing changes, though scale and bias are gone."""
    for var in (scale**2 * 5, 1e-8 * scale**2, 40.0):
        model, x = scaled_states(kind, N, scale, eps, var)
        with torch.no_grad():
            before = model.double()(x.double()).float()
        report = discretize(model.float(), Precision(weights=N, activations=None))
        assert model[0].bias is None
        torch.testing.assert_close(model(x), before, rtol=2e-4, atol=2e-4 * before.abs().max().item())
        assert (model[-1].eps == eps) or "which no state_dict holds" in report.changed[0].remark


@pytest.mark.parametrize("kind", ["linear", "conv and pooling", "no gamma"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("var", [40.0, 1e-3, 3e4])
def test_half_precision_networks_put_out_the_same(kind, dtype, var):  # pytorch/vision#648, onnxruntime#17981
    model, x = scaled_states(kind, 1, 0.02, 1e-3, var, dtype)
    with torch.no_grad():
        before = copy.deepcopy(model).float()(x.float())
    report = discretize(model, PRECISIONS["twn"])
    assert "is float32 now" in report.changed[0].remark
    after = model(x)
    assert after.dtype == dtype and before.abs().max() > 0.01
    torch.testing.assert_close(after.float(), before, rtol=0.02, atol=0.02 * before.abs().max().item())
    assert model.train()(x).dtype == dtype  # it goes on learning


@pytest.mark.parametrize("N", range(8))
@pytest.mark.parametrize("scale", [1.0, 1e-30, 7e20])
@pytest.mark.parametrize("top", [1, 3, 64])
def test_the_scale_of_weights_that_are_states_is_found(N, scale, top):  # onnxruntime#17981
    space, draws = DiscreteSpace(N), torch.Generator().manual_seed(N)
    levels = torch.randint(-min(top, space.denominator), min(top, space.denominator) + 1, (300,), generator=draws)
    if N == 0:
        levels = levels.sign() + (levels == 0)
    w = levels / space.denominator * scale
    s = best_scale(w, space)
    torch.testing.assert_close(s * project(w / s, space), w, rtol=1e-5, atol=0)


def test_a_scale_that_no_norm_can_take_in_is_refused_and_the_model_stays():  # pytorch/vision#648
    for change, words in [
        (lambda m: m[1].weight.mul_(1e-25), "1: 2 cannot take in its scale: eps = 1e-05 is too large"),
        (lambda m: (m[1].weight.mul_(1e-18), m[2].running_var.fill_(1e10)), "1: 2 cannot .* statistics are too large"),
        (
            lambda m: (m[5].bias.fill_(1e30), m[5].weight.mul_(1e-12)),
            "5: its bias over its scale of .* beyond torch.float",
        ),
    ]:
        model = mlp()
        with torch.no_grad():
            change(model)
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(ValueError, match=words):
            discretize(model)
        assert [type(m) for m in model] == [type(m) for m in mlp()]
        assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.values(), strict=True))


def test_training_mode_output_needs_no_scale():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(20, 6), nn.BatchNorm1d(6, eps=1e-12)), torch.randn(50, 20)
    with torch.no_grad():
        model[0].weight.copy_(project(model[0].weight / 0.1, DiscreteSpace(1)) * 0.03)
    before = model(x)
    discretize(model, PRECISIONS["twn"])
    torch.testing.assert_close(model(x), before)


def test_without_a_norm_results_and_bias_grow_together():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(20, 6)), torch.randn(7, 20)
    with torch.no_grad():
        model[0].weight.copy_(project(model[0].weight / 0.1, DiscreteSpace(1)) * 0.25)
    before = model(x)
    report = discretize(model, PRECISIONS["twn"])
    torch.testing.assert_close(model(x), 4 * before)
    assert "results grow 4-fold, bias kept" in report.changed[0].remark


class Uses(nn.Module):
    """A convolution whose result goes into a norm, and what else `how` says."""

    def __init__(self, how: str):
        super().__init__()
        self.how = how
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.pool = nn.AvgPool2d(2, padding=1) if how == "padded average" else nn.Dropout(0.5)

    def forward(self, x):
        y = self.conv(x)
        if self.how == "second use":
            return self.norm(y) + y
        if self.how == "second source":
            return self.norm(y) + self.norm(torch.cat([x, x], 1))
        return self.norm(self.pool(y))


@pytest.mark.parametrize("how", ["second use", "second source", "padded average", "dropout"])
def test_bias_stays_where_no_norm_takes_it_in(how):
    model = Uses(how)
    mean = model.norm.running_mean.clone()
    discretize(model)
    assert model.conv.bias is not None
    assert torch.equal(model.norm.running_mean, mean)


@pytest.mark.parametrize("N", [0, 1, 2, 3, 5])
def test_weights_become_the_nearest_states_of_a_scale_that_uses_them_all(N):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 200, bias=False), nn.BatchNorm1d(200))
    nn.init.normal_(model[0].weight, std=0.02)
    w, space = model[0].weight.detach().clone(), DiscreteSpace(N)
    discretize(model, Precision(weights=N, activations=None))
    s = best_scale(w, space)
    assert torch.equal(model[0].states(), nearest(w / s, space))
    shares = torch.bincount(model[0].states().flatten().int(), minlength=space.size) / w.numel()
    assert shares.min() > 0.03 / space.size
    errors = {k: (w - k * s * project(w / (k * s), space)).square().sum() for k in (0.5, 0.8, 0.95, 1, 1.05, 1.25, 2)}
    assert min(errors, key=errors.get) == 1
    if N == 1:  # close to the threshold of Ternary Weight Networks, and no worse
        assert s / 2 == pytest.approx(0.7 * w.abs().mean().item(), rel=0.15)


def test_projection_agrees_with_the_space():
    torch.manual_seed(0)
    for space in (DiscreteSpace(0), DiscreteSpace(1), DiscreteSpace(2, 0.5), DiscreteSpace(7)):
        w = torch.cat([torch.randn(1000), torch.from_numpy(space.values) + space.step / 2, torch.zeros(1)])
        assert nearest(w, space).tolist() == space.nearest(w.numpy()).tolist()
        assert project(w, space).tolist() == space.project(w.numpy()).tolist()


def test_weights_all_zero_and_not_finite():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    nn.init.zeros_(model[0].weight)
    discretize(model)
    assert model[0].weight.dequantize().abs().max() == 0
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4)))
    nn.init.constant_(model[0][0].weight, float("nan"))
    with pytest.raises(ValueError, match=r"0\.0\.weight is not finite"):
        discretize(model)
    assert type(model[0][0]) is nn.Linear
