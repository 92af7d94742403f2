"""discretize(): a user's own models become discrete, keep working, and train."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import gxnor.nn as gnn
from gxnor.nn import PRECISIONS, DiscreteParameter, Precision, discretize
from gxnor.nn.projection import best_scale, nearest
from gxnor.optim import DST
from gxnor.space import DiscreteSpace
from tests.nn.own_models import ResNet, mlp, paths


def test_residual_network():
    torch.manual_seed(0)
    model = ResNet()
    report = discretize(model)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 6 and all(type(m) is gnn.Conv2d for m in convolutions)
    assert type(model.fc) is gnn.Linear and type(model.layer1[0].relu) is gnn.Activation
    assert not any(isinstance(m, nn.ReLU) for m in model.modules())
    assert paths(report.changed)[:4] == ["conv1", "relu", "layer1.0.conv1", "layer1.0.relu"]
    assert "layer2.0.downsample.1" in paths(report.left) and "avgpool" in paths(report.left)
    assert report.weights == sum(p.numel() for p in model.parameters() if isinstance(p, DiscreteParameter))
    assert "layer1.0, layer2.0" in report.notes[0]  # where the additions are
    seen = []
    model.layer2.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert model(torch.randn(4, 1, 8, 8)).shape == (4, 10)
    assert set(seen[0].unique().tolist()) <= {-1.0, 0.0, 1.0}  # what the sum becomes


def test_one_dimensional_network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(2, 8, 5, stride=2, padding=2, dilation=1, padding_mode="circular"), nn.BatchNorm1d(8), nn.GELU(),
        nn.Conv1d(8, 8, 3, groups=4), nn.MaxPool1d(2), nn.BatchNorm1d(8), nn.SiLU(), nn.Flatten(), nn.Linear(56, 3),
    )  # fmt: skip
    expected = model(torch.randn(5, 2, 32)).shape
    report = discretize(model, PRECISIONS["bnn"])
    assert [type(model[i]) for i in (0, 2, 3, 6, 8)] == [
        gnn.Conv1d, gnn.Activation, gnn.Conv1d, gnn.Activation, gnn.Linear
    ]  # fmt: skip
    assert model[0].padding_mode == "circular" and model[0].stride == (2,) and model[3].groups == 4
    assert model[0].bias is None and model[3].bias is None  # a norm follows, for the second after a pooling
    assert "bias taken in by 5" in report.changed[2].remark
    out = model(torch.randn(5, 2, 32))
    assert out.shape == expected
    out.sum().backward()
    DST(model).step()


def test_report_reads_as_a_table():
    model = mlp()
    text = str(discretize(model))
    assert text.splitlines()[0] == "changed: 3 modules, 9,472 discrete weights"
    assert "gxnor.check(model, input_shape)" in text.splitlines()[-1]
    assert "  1  Linear       -> Z_1 [128 x 64], zeros" in text
    assert "no batch norm follows: results grow" in text
    assert "  4  Dropout" in text


def test_shared_modules_stay_shared():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), relu, nn.Sequential(nn.Linear(4, 4), relu), nn.BatchNorm1d(4))
    report = discretize(model)
    assert model[1] is model[2][1] and type(model[1]) is gnn.Activation
    assert "1, 2.1" in paths(report.changed)


def test_tied_weights_stay_tied():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
    model[3].weight = model[0].weight
    report = discretize(model)
    assert model[0].weight is model[3].weight and report.weights == 16
    model(torch.randn(3, 4)).sum().backward()
    DST(model).step()
    tied = nn.ModuleDict({"embedding": nn.Embedding(5, 4), "head": nn.Linear(4, 5)})
    tied["head"].weight = tied["embedding"].weight
    with pytest.raises(ValueError, match=r"embedding\.weight and head\.weight are one parameter"):
        discretize(tied, keep="embedding")


def test_special_cases_by_settings_alone():
    model = mlp()
    discretize(model, PRECISIONS["bwn"])
    assert type(model[3]) is nn.ReLU and set(model[1].weight.dequantize().unique().tolist()) == {-1.0, 1.0}
    model = mlp()
    report = discretize(model, Precision(weights=None, activations=2, r=0.2, a=0.3, H=2.0, window="triangular"))
    assert type(model[1]) is nn.Linear and report.weights == 0
    assert (model[3].N, model[3].r, model[3].a, model[3].H, model[3].window) == (2, 0.2, 0.3, 2.0, "triangular")
    model = mlp()
    states = nearest(model[1].weight / best_scale(model[1].weight, DiscreteSpace(1)), DiscreteSpace(1))
    discretize(model, PRECISIONS["latent"])
    assert type(model[1].weight) is nn.Parameter and model[1].weight.abs().max() <= 1
    assert torch.equal(model[1].states(), states)
    assert str(discretize(mlp(), PRECISIONS["full"])).startswith("changed: 0 modules, 0 discrete weights")


def test_everything_else_of_a_layer_stays():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, dtype=torch.float64), nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    model.to(memory_format=torch.channels_last)
    model[0].weight.requires_grad_(False)
    model[1].eval()
    strides = model[0].weight.stride()
    discretize(model)
    assert model[0].weight.dtype == model[0].bias.dtype == torch.float64
    assert model[0].weight.stride() == model[0].weight.dequantize().stride() == strides
    assert not model[0].weight.requires_grad and model[0].bias.requires_grad and model[1][0].weight.requires_grad
    assert model[0].training and not model[1][0].training and not model[1][1].training


def test_a_discrete_model_is_left_alone():
    model = gnn.network("4C3-MP2-8FC-2", (1, 8, 8))
    before = {name: p.indices() for name, p in model.named_parameters() if isinstance(p, DiscreteParameter)}
    report = discretize(model)
    assert not report.changed
    assert all(torch.equal(model.get_parameter(name).indices(), states) for name, states in before.items())


@pytest.mark.parametrize("make", [mlp, ResNet])
def test_a_discretised_model_learns(make):
    torch.manual_seed(0)
    digits = load_digits()
    order = torch.randperm(len(digits.target))
    x = (torch.tensor(digits.images, dtype=torch.float32) / 8 - 1).unsqueeze(1)[order]
    y = torch.tensor(digits.target)[order]
    model = make()
    discretize(model)
    optimizer = DST(model, lr=0.15)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)
    for _ in range(8):
        for batch in torch.randperm(1400).split(100):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    torch.optim.swa_utils.update_bn(x[:1400].split(100), model)
    model.eval()
    assert (model(x[1400:]).argmax(1) == y[1400:]).float().mean() > 0.9


def test_a_precision_by_its_name():
    by_name, by_value = (nn.Sequential(nn.Linear(3, 4), nn.ReLU()) for _ in range(2))
    assert (
        str(discretize(by_name, "bnn")).count("Z_0") == str(discretize(by_value, PRECISIONS["bnn"])).count("Z_0") == 1
    )
    for wrong in ("ternary", 1, None, {"weights": 1}):  # finn#309
        with pytest.raises(ValueError, match=r"expected a Precision or one of full, bwn.*, got"):
            discretize(nn.Sequential(nn.Linear(3, 4)), wrong)


def test_what_torch_has_compiled_is_discretised():
    model = mlp()
    report = discretize(torch.compile(model))
    assert type(model[1]) is gnn.Linear and paths(report.changed)[0] == "1"
