"""discretize(): a user's own models become discrete, keep working, and train."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from sklearn.datasets import load_digits
from torch import nn

import gxnor.nn as gnn
from gxnor.nn import PRECISIONS, DiscreteParameter, Precision, discretize
from gxnor.nn.projection import best_scale, nearest, project
from gxnor.optim import DST
from gxnor.space import DiscreteSpace


class BasicBlock(nn.Module):
    """As in torchvision: one ReLU used twice, the addition in Python."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, width: int = 16):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(BasicBlock(width, width))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(8 * width, 10)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 10)
    )


def paths(lines) -> list[str]:
    return [line.path for line in lines]


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
