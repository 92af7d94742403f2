"""What cannot be exported is named, and what PyTorch rounds is said."""

import pytest
import torch
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter import export
from gxnor.nn import Activation, Conv2d, Linear
from gxnor.nn.pixels import Pixels


def test_where_pytorch_rounds_is_said():
    def model(*modules):
        return nn.Sequential(Pixels(), Conv2d(1, 4, 3), nn.BatchNorm2d(4), Activation(), *modules)

    shape = (1, 5, 5)
    for modules, words in (
        ([nn.AvgPool2d(3), nn.Flatten(), Linear(4, 3)], "the sums of 6, the program does not"),
        ([nn.Flatten(), Linear(36, 3, H=0.3), nn.BatchNorm1d(3), Activation(), Linear(3, 3)], "the sums of 5, "),
        ([nn.AvgPool2d(3), nn.AvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4), Activation(), Linear(4, 3)], "of 5, "),
    ):
        with pytest.warns(RuntimeWarning, match=words):
            export(model(*modules), shape, "abc")
    big = nn.Sequential(Pixels(), nn.Flatten(), Linear(2000, 2, N=7))
    with pytest.warns(RuntimeWarning, match="the sums of 2, "):
        export(big, (2000,), "ab")


class Unfit(nn.Module):
    """Something of everything that no integer program computes."""

    def __init__(self):
        super().__init__()
        self.pixels = Pixels()
        self.real, self.conv = nn.Conv2d(1, 4, 3), Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        self.body = nn.Sequential(Conv2d(4, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU())
        self.norm, self.norm2, self.layer = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.LayerNorm(4)
        self.good, self.same = Conv2d(1, 4, 3), Conv2d(1, 4, 4, padding="same")
        self.edge, self.third = nn.AvgPool2d(2, padding=1, count_include_pad=False), nn.AdaptiveAvgPool2d(3)
        self.find, self.fc = nn.MaxPool2d(2, return_indices=True), Linear(4, 3)

    def forward(self, x):
        p = self.pixels(x)
        a = self.body(self.real(p))
        b = self.norm(self.good(p))
        c = self.layer(b + self.norm2(self.good(p)))
        d = self.conv(p) * 2
        e = torch.sigmoid(self.edge(p)) + self.third(p) + self.same(p) + self.good(b) + self.good(x)
        f, _ = self.find(p)
        return self.fc((a + c + d + e + f).cumsum(1))


def test_everything_that_cannot_be_exported_is_named():
    with pytest.raises(GxnorError) as caught:
        export(Unfit(), (1, 8, 8), "abc")
    message = str(caught.value)
    for words in (
        "real: Conv2d has real weights", "body.1: batch norm without running statistics", "body.2: ReLU is a real",
        "layer: LayerNorm is not an operation", "conv: expected padding_mode='zeros'",
        "edge: its divisor differs", "sigmoid: Sigmoid is a real activation",
        "third: expected adaptive pooling to a size that",
        "good: expected integers, got pixels: put gxnor.nn.Pixels() in front", "find: max pooling that returns",
        "cumsum: no operation",
    ):  # fmt: skip
        assert words in message
    named = {part.split(":")[0] for part in message.removeprefix("cannot export: ").split("; ")}
    assert not named & {"pixels", "body.0", "norm", "norm2", "fc"}


@pytest.mark.parametrize(
    "model, words",
    [
        (lambda: nn.Sequential(nn.Flatten(), Linear(16, 3)), "1: .*Pixels"),
        (lambda: nn.Sequential(Pixels(), Pixels(), nn.Flatten(), Linear(16, 3)), "1: expected the network's uint8 input"),
        (lambda: nn.Sequential(Pixels(), nn.Flatten(), Linear(15, 3)), "2: weight .* expects an input .15,"),
        (lambda: nn.Sequential(Pixels(), Conv2d(1, 3, 5), nn.Flatten(), Linear(3, 3)), "1: a window of 5"),
        (lambda: nn.Sequential(Pixels(), nn.Flatten(0), Linear(16, 3)), "1: expected to flatten"),
        (lambda: nn.Sequential(Pixels(), nn.Flatten(), nn.MaxPool1d(2), Linear(16, 3)), "2: MaxPool1d does not fit"),
    ],
)  # fmt: skip
def test_models_that_do_not_fit_are_refused(model, words):
    with pytest.raises(GxnorError, match=f"cannot export: .*{words}"):
        export(model(), (1, 4, 4), "abc")


def test_the_wrong_number_of_classes_and_control_flow_are_refused():
    model = nn.Sequential(Pixels(), nn.Flatten(), Linear(16, 3))
    with pytest.raises(GxnorError, match="each of 3 logits, got 2"):
        export(model, (1, 4, 4), "ab")

    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(GxnorError, match="cannot trace the model"):
        export(Branching(), (1, 4, 4), "ab")


def test_what_tracing_does_not_see_is_refused():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.pixels, self.fc, self.norm = Pixels(), Linear(16, 3), nn.BatchNorm1d(3)

        def forward(self, x):
            before = y = self.fc(torch.flatten(self.pixels(x), 1))
            y += y
            return self.norm(before)

    with pytest.raises(GxnorError, match="computes something else than the model"):
        export(InPlace(), (1, 4, 4), "abc")
