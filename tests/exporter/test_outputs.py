"""Models with several outputs: each has logits of its own, by the names and in the order that the model gives."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gxnor
import gxnor.nn as gnn
from gxnor.errors import GxnorError
from gxnor.program import reference
from gxnor.runtime.engine import Engine
from tests.exporter.models import fitted, images, stem


class Heads(nn.Module):
    """Scores of the image and scores for every place; `returned` says how they are given."""

    def __init__(self, returned):
        super().__init__()
        self.trunk, self.returned = stem(), returned
        self.kind = nn.Sequential(nn.Flatten(), gnn.Linear(512, 5), nn.BatchNorm1d(5))
        self.place = nn.Sequential(gnn.Conv2d(8, 3, 1), nn.BatchNorm2d(3))

    def forward(self, x, target=None):
        x = self.trunk(x)
        kind = self.kind(x)
        loss = None if target is None else F.cross_entropy(kind, target)
        return self.returned(kind, self.place(x), loss)


class Named(NamedTuple):
    kind: torch.Tensor
    place: torch.Tensor


@dataclass
class Fields:
    place: torch.Tensor
    kind: torch.Tensor
    loss: torch.Tensor | None = None


@pytest.mark.parametrize("returned, names, classes", [
    (lambda a, b, loss: Fields(b, a, loss), ("place", "kind"), {"kind": 5, "place": 3}),
    (lambda a, b, loss: {"kind": a, "place": b}, ("kind", "place"), {"place": ("x", "y", "z"), "kind": 5}),
    (lambda a, b, loss: {"kind": a.log_softmax(1), "place": b, "loss": loss}, ("kind", "place"), {"kind": 5, "place": 3}),
    (lambda a, b, loss: (b, a, loss), ("0", "1"), (3, "abcde")),
    (lambda a, b, loss: [a, b], ("0", "1"), [5, 3]),
    (lambda a, b, loss: Named(a, b), ("kind", "place"), {"kind": 5, "place": 3}),
])  # fmt: skip
def test_several_outputs(returned, names, classes):
    torch.manual_seed(0)
    x = images((2, 8, 8))
    net = fitted(Heads(returned), x)
    assert gxnor.check(net, (2, 8, 8)).exports
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = gxnor.export(net, (2, 8, 8), classes, samples=x.numpy())
    logits, shapes = reference.run(program, x.numpy()), {(40, 5), (40, 3, 8, 8)}
    assert tuple(logits) == names and {each.shape for each in logits.values()} == shapes
    assert [len(of.classes) for of in program.outputs] == [of.shape[0] for of in program.outputs]
    with torch.no_grad():
        given = net(x)
        given = vars(given) if isinstance(given, Fields) else given
        expected = list(given.values() if isinstance(given, dict) else given)
    for name, each in zip(names, expected[:2], strict=True):
        assert np.array_equal(logits[name].argmax(1), each.argmax(1).numpy())
        np.testing.assert_array_equal(Engine(program).run(x.numpy())[name], logits[name])


@pytest.mark.parametrize("returned", [lambda a, b, loss: (a, loss), lambda a, b, loss: {"scores": a}])
def test_one_output_among_others_that_are_none_is_plain(returned):
    torch.manual_seed(0)
    program = gxnor.export(Heads(returned).eval(), (2, 8, 8), 5)
    assert program.output_names == () and reference.run(program, images((2, 8, 8)).numpy()).shape == (40, 5)


@pytest.mark.parametrize("returned, classes, words", [
    (lambda a, b, loss: (a, b), 5, "the classes of every output"),
    (lambda a, b, loss: (a, b), (5, 3, 2), "the classes of every output"),
    (lambda a, b, loss: {"a": a, "b": b}, {"a": 5, "c": 3}, "{'a': 10, 'b': 10} for example"),
    (lambda a, b, loss: {"a": a, "b": b}, {"a": 5, "b": 4}, "a class name for each of 8 logits"),
    (lambda a, b, loss: (a, (b, b)), 5, "scores, or a dict or tuple of scores"),
    (lambda a, b, loss: loss, 5, "scores, or a dict or tuple of scores"),
])  # fmt: skip
def test_outputs_that_are_refused(returned, classes, words):
    with pytest.raises(GxnorError, match=words):
        gxnor.export(Heads(returned).eval(), (2, 8, 8), classes)
