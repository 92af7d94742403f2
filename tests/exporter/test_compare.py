"""What is exported is what the model computes, whatever tracing makes of it: else it is refused."""

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

SHAPE = (1, 9, 9)


class Net(nn.Module):
    """Scores of 9x9 images; PyTorch rounds its average over 7x7 places. `twist` is what a user may do in between."""

    def __init__(self, twist=lambda x: x, latent=False):
        super().__init__()
        self.pixels, self.conv, self.norm = (
            gnn.Pixels(),
            gnn.Conv2d(1, 8, 3, bias=True, latent=latent),
            nn.BatchNorm2d(8),
        )
        self.act, self.fc, self.norm2 = gnn.Activation(r=0.3), gnn.Linear(8, 3, latent=latent), nn.BatchNorm1d(3)
        self.twist = twist

    def forward(self, x):
        x = self.norm(self.conv(self.pixels(x)))
        x = self.act(self.twist(x))
        return self.norm2(self.fc(x.mean((2, 3))))


def images(batch=50, shape=SHAPE):
    return torch.randint(256, (batch, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def fitted(net):
    """With statistics of its own sums."""
    torch.manual_seed(0)
    for norm in (net.norm, net.norm2):
        norm.momentum = 1.0
        nn.init.normal_(norm.weight)
    with torch.no_grad():
        net.train()(images())
    return net.eval()


def exported(net, shape=SHAPE, classes=3, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return gxnor.export(net, shape, classes, **options)


def agreement(net, program):
    with torch.no_grad():
        expected = net(images()).argmax(1).numpy()
    return np.mean(reference.run(program, images().numpy()).argmax(1) == expected)


def test_an_average_that_pytorch_rounds_is_compared_too():
    torch.manual_seed(0)
    net = fitted(Net())
    assert agreement(net, exported(net)) == 1
    assert agreement(net, exported(net, samples=images().numpy())) == 1


def dropped_relu(x):
    F.relu(x, inplace=True)
    return x


def aliased(x):
    y = x
    y += 1
    return x


def through_a_view(x):
    x.flatten(1).mul_(-1)
    return x


def into_another(x):
    torch.add(x, 1, out=x)
    return x


def multiplied(x):
    x.detach().mul_(-1)
    return x


def by_method_of_a_part(x):
    x[:, :4].neg_()
    return x


@pytest.mark.parametrize(
    "twist", [dropped_relu, aliased, through_a_view, into_another, multiplied, by_method_of_a_part]
)
def test_a_tensor_that_changes_behind_the_trace_is_refused(twist):  # ppq#503
    torch.manual_seed(0)
    with pytest.raises(GxnorError, match="cannot export"):
        exported(fitted(Net(twist)))


def test_a_change_in_place_that_is_seen_is_exported():
    def negate(x):
        x.mul_(2)
        return x

    torch.manual_seed(0)

    class Doubled(Net):
        def forward(self, x):
            x = self.conv2(self.act(self.norm(self.conv(self.pixels(x)))))
            x.mul_(2)
            x.add_(x)
            return self.norm2(self.fc(x.mean((2, 3))))

    net = Doubled()
    net.conv2 = gnn.Conv2d(8, 8, 1)
    net = fitted(net)
    assert agreement(net, exported(net)) == 1


@pytest.mark.parametrize("where", ["conv", "norm", "act", "fc", "norm2"])
def test_hooks_that_change_something_are_refused(where):
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        torch.manual_seed(0)
        net = fitted(Net())
        hook = (lambda m, x, y: -y) if register == "register_forward_hook" else (lambda m, x: (-x[0],))
        getattr(getattr(net, where), register)(hook)
        with pytest.raises(GxnorError, match="computes something else than the model"):
            exported(net)


@pytest.mark.parametrize("drop", [F.dropout, F.dropout2d, lambda x, p: torch.dropout(x, p, True)])
def test_dropout_that_is_never_off_is_refused(drop):
    with pytest.raises(GxnorError, match="drops values in evaluation too"):
        exported(fitted(Net(lambda x: drop(x, 0.5))))


def test_a_model_that_goes_another_way_than_its_trace_is_refused():
    class Wayward(Net):
        def forward(self, x):
            return super().forward(x) if type(x) is torch.Tensor else self.norm2(super().forward(x))

    net = fitted(Wayward())
    with pytest.raises(GxnorError, match="its scores"):
        exported(net)


def test_the_functional_activation_is_compared_as_the_module_is():
    torch.manual_seed(0)
    net = fitted(Net(lambda x: gnn.phi(x, 2, r=0.1)))  # one more activation, of states
    assert agreement(net, exported(net)) == 1
    net.twist = lambda x: gnn.phi(x if type(x) is not torch.Tensor else -x, 2, r=0.1)
    with pytest.raises(GxnorError, match="first seen at phi"):
        exported(net)


@pytest.mark.parametrize("where", ["conv.weight", "conv.bias", "fc.weight", "norm.running_var", "norm2.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_by_name(where, value):  # ppq#503
    torch.manual_seed(0)
    net = fitted(Net(latent=True))
    module, name = where.split(".")
    with torch.no_grad():
        getattr(net.get_submodule(module), name).view(-1)[0] = value
    with pytest.raises(GxnorError, match=f"cannot export: {module}: its {name} is not finite"):
        exported(net)


def test_a_bias_before_pooling_or_flattening_is_no_second_norm():  # finn#309
    for between in (nn.MaxPool2d(2), nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2))):
        torch.manual_seed(0)
        net = fitted(Net())
        net.norm = nn.Sequential(between, nn.BatchNorm2d(8).eval())
        assert agreement(net, exported(net)) == 1

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.norm2 = gnn.Conv2d(1, 8, 3, bias=True), nn.BatchNorm1d(128), nn.BatchNorm1d(3)
            self.body = nn.Sequential(
                gnn.Pixels(), self.conv, nn.MaxPool2d(2), nn.Flatten(), self.norm, gnn.Activation()
            )
            self.tail = nn.Sequential(gnn.Linear(128, 3), self.norm2)
            nn.init.normal_(self.conv.bias, std=50)

        def forward(self, x):
            return self.tail(self.body(x))

    net = Flat()
    with torch.no_grad():
        net(images(shape=(1, 10, 10)))
    net.eval()
    program = gxnor.export(net, (1, 10, 10), 3)
    x = images(shape=(1, 10, 10))
    with torch.no_grad():
        np.testing.assert_array_equal(reference.run(program, x.numpy()).argmax(1), net(x).argmax(1).numpy())


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda net: torch.compile(nn.DataParallel(net))])
def test_wrappers_are_taken_off(wrap):
    torch.manual_seed(0)
    net = fitted(Net())
    assert agreement(net, exported(wrap(net))) == 1


def test_a_number_of_classes_gives_them_numbers_for_names():
    torch.manual_seed(0)
    assert exported(fitted(Net())).classes == ("0", "1", "2")


@pytest.mark.parametrize("shape", [28, None, (), "28"])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(GxnorError, match="expected the shape of one sample"):
        exported(Net(), shape)


@pytest.mark.parametrize("record", [
    lambda net, x, path: torch.onnx.export(net, (x,), path, dynamo=False),
    lambda net, x, path: torch.jit.trace(net, x),
])  # fmt: skip
@pytest.mark.parametrize(
    "layer", [gnn.Activation(), gnn.Linear(4, 4), gnn.Conv1d(4, 4, 1), gnn.Linear(4, 4, latent=True)]
)
def test_recorders_that_would_write_constants_are_refused(record, layer, tmp_path):
    with pytest.raises(GxnorError, match="Use gxnor"):
        record(layer.eval(), torch.ones(1, 4, 1 if isinstance(layer, gnn.Conv1d) else 4), str(tmp_path / "net.onnx"))


@pytest.mark.onnx
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("layer", [gnn.Linear(4, 4), gnn.Conv1d(4, 4, 1)])
def test_the_newer_onnx_export_gives_our_reason_for_its_failure(layer, captured, tmp_path):
    pytest.importorskip("onnxscript")
    net, x = nn.Sequential(layer, nn.ReLU()).eval(), torch.ones(1, 4, 1 if isinstance(layer, gnn.Conv1d) else 4)
    model = torch.export.export(net, (x,)) if captured else net  # PyTorch's own export works
    with pytest.raises(Exception, match=r"GxnorError.*Use gxnor\.export.*--to onnx"):
        torch.onnx.export(model, (x,), str(tmp_path / "net.onnx"), dynamo=True, verbose=False)
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.skipif(
    torch.__version__.startswith("2.6."), reason="PyTorch 2.6's torch.export cannot take tensor subclasses"
)
def test_torch_export_computes_the_same():
    net = nn.Sequential(gnn.Linear(4, 6), nn.BatchNorm1d(6), gnn.Activation(), gnn.Linear(6, 3)).eval()
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.export.export(net, (x,)).module()(x), net(x))
