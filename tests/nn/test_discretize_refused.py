"""What discretize() leaves, finds, tells and refuses."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from torch import nn

import gxnor.nn as gnn
from gxnor.nn import PRECISIONS, Precision, discretize
from tests.nn.own_models import ResNet, mlp


class Unsupported(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = ResNet()
        self.lstm = nn.LSTM(10, 10)
        self.head = nn.Sequential(nn.LayerNorm(10), nn.PReLU(), nn.ConvTranspose1d(1, 1, 3))
        self.attention = nn.MultiheadAttention(10, 2)
        self.embedding = nn.Embedding(10, 10)


def test_what_cannot_be_handled_is_named_and_nothing_is_touched():
    model = Unsupported()
    before = copy.deepcopy(model)
    with pytest.raises(ValueError) as caught:
        discretize(model)
    message = str(caught.value)
    for part in ("lstm: LSTM is recurrent", "head.0: LayerNorm", "head.1: PReLU", "head.2: ConvTranspose1d",
                 "attention: MultiheadAttention", "embedding: Embedding has weights (weight)"):  # fmt: skip
        assert part in message
    assert "out_proj" not in message  # part of the attention, which is named already
    assert repr(model) == repr(before)
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.state_dict().values(), strict=True)
    )


def test_parameters_beside_the_layers_stay_real_and_are_told():
    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.gain = mlp(), nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.body(x) * self.gain

    model = nn.Sequential(Gain())
    report = discretize(model)
    assert report.left[0].path == "0" and report.left[0].remark == "its own parameters (gain) stay real"
    assert type(model[0].gain) is nn.Parameter


def test_keep_by_path_and_by_type():
    model = nn.ModuleDict(
        {"body": ResNet(), "lstm": nn.LSTM(10, 10), "head": nn.Sequential(nn.PReLU(), nn.Linear(10, 2))}
    )
    report = discretize(model, keep=("lstm", "body.layer1", nn.PReLU))
    assert type(model["body"].conv1) is gnn.Conv2d and type(model["head"][1]) is gnn.Linear
    assert type(model["body"].layer1[0].conv1) is nn.Conv2d and type(model["body"].layer1[0].relu) is nn.ReLU
    remarks = {line.path: line.remark for line in report.left}
    assert remarks["lstm"] == remarks["head.0"] == remarks["body.layer1.0.conv1"] == "kept as asked"
    model = mlp()
    discretize(model, keep="5")
    assert type(model[1]) is gnn.Linear and type(model[5]) is nn.Linear
    with pytest.raises(ValueError, match=r"does not have: body\.layer9"):
        discretize(nn.ModuleDict({"body": ResNet()}), keep=["body.layer9"])


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4))
        self.function = function

    def forward(self, x):
        return self.inner(self.function(self.inner(x)))


@pytest.mark.parametrize(
    "function", [F.relu, torch.relu_, torch.tanh, F.gelu, lambda x: x.sigmoid(), lambda x: F.hardtanh(x, -2, 2)]
)
def test_activations_that_are_functions_are_found(function):
    model = nn.Sequential(nn.Linear(4, 4), Functional(function))
    with pytest.raises(ValueError, match=r"1: calls \w+\(\) as a function"):
        discretize(model)
    discretize(model, keep="1")
    assert type(model[0]) is gnn.Linear and type(model[1].inner[0]) is nn.Linear
    discretize(Functional(function), PRECISIONS["twn"])  # real activations are wanted: nothing to refuse


def test_the_models_output_stays_real():
    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return torch.sigmoid(self.fc(x))

    discretize(Scores())
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1), nn.Sigmoid())
    report = discretize(model)
    assert type(model[2]) is gnn.Activation and type(model[4]) is nn.Sigmoid
    assert report.left[-1].remark == "the model's output"


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.fc(x)) if x.sum() > 0 else x


def test_a_forward_pass_that_cannot_be_traced_is_told():
    model = Untraceable()
    report = discretize(model)
    assert "could not be traced" in report.notes[0]
    assert type(model.fc) is gnn.Linear and model.fc.bias is not None
    model(torch.ones(3, 4))


def test_a_layer_that_is_the_model_is_refused():
    for model in (nn.Linear(3, 3), nn.ReLU()):
        with pytest.raises(ValueError, match="cannot be replaced in place; put it into an"):
            discretize(model, Precision())


def test_hooks_and_reparametrised_weights_are_refused():
    hooked = nn.Linear(3, 3)
    hooked.register_forward_hook(lambda module, inputs, output: output * 2)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    pruned = nn.utils.prune.random_unstructured(nn.Linear(3, 3), "weight", 0.5)
    for layer in (hooked, normed, pruned, nn.LazyLinear(3)):
        with pytest.raises(ValueError, match=r"no discrete form for:\n  0"):
            discretize(nn.Sequential(layer))
