"""`gxnor.check` says before training what export will do, and never otherwise than export."""

from pathlib import Path

import pytest
import torch
from torch import nn

import gxnor
import gxnor.nn as gnn
from gxnor.errors import GxnorError
from gxnor.exporter import supported


class Net(nn.Module):
    def __init__(self, *end):
        super().__init__()
        self.stem = nn.Sequential(gnn.Pixels(), gnn.Conv2d(1, 4, 3, bias=True), nn.BatchNorm2d(4), gnn.Activation())
        self.end = nn.Sequential(nn.Flatten(), gnn.Linear(4 * 36, 3), nn.BatchNorm1d(3), *end)

    def forward(self, x):
        x = self.stem(x)
        return self.end(x + x)


def test_every_part_is_named_with_what_becomes_of_it():
    found = gxnor.check(Net(nn.Softmax(1)), (1, 8, 8))
    assert found.exports and not found.problems
    rows = {row.place: (row.what, row.is_, row.becomes) for row in found.rows}
    assert rows["stem.1"] == ("Conv2d", "real", "Conv")  # its bias is real
    assert rows["stem.2"] == ("BatchNorm2d", "real", "waits for the activation or the scores")
    assert rows["stem.3"] == ("Activation", "states of Z_1", "Threshold")
    assert rows["add"] == ("add", "integers", "Add")
    assert rows["end.3"][0] == "Softmax" and "left out" in rows["end.3"][2]
    assert "Softmax at the end is left out" in found.notes[0]
    assert str(found).startswith(f"exports: {len(found.rows)} parts\n")


@pytest.mark.parametrize("end", [nn.PReLU(), nn.LayerNorm(3), nn.Linear(3, 3)])
def test_it_refuses_what_export_refuses_in_the_same_words(end):
    model = Net(end)
    found = gxnor.check(model, (1, 8, 8))
    assert not found.exports and "cannot be exported" in str(found)
    with pytest.raises(GxnorError) as caught:
        gxnor.export(model, (1, 8, 8), 3)
    assert str(caught.value) == f"cannot export: {'; '.join(found.problems)}"
    assert any(row.place == "end.3" and row.becomes.startswith("refused: ") for row in found.rows)


def test_what_tracing_cannot_see_is_found_before_training():
    model = Net()
    model.stem[3].register_forward_hook(lambda module, given, y: -y)
    assert "computes something else" in gxnor.check(model, (1, 8, 8)).problems[0]
    assert "cannot trace" in gxnor.check(Branching(), (4,)).problems[0]


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_the_model_is_left_as_it_is():
    model = Net().train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    gxnor.check(model, (1, 8, 8))
    assert model.training and all(torch.equal(before[name] * 1, t * 1) for name, t in model.state_dict().items())


def test_the_table_of_what_exports_is_current():
    page = (Path(__file__).parents[2] / "docs" / "own-model.md").read_text()
    assert page == supported.rewrite(page), "write it again: python -m gxnor.exporter.supported docs/own-model.md"
    for name in ("Conv2d", "AdaptiveMaxPool2d", "torch.cat", ".add_()", "F.interpolate"):
        assert name in supported.table()
