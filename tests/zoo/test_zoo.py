"""Networks of today through the whole of it: discretize, check, a little training, export, equality, inspect, bench."""

import json
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import update_bn

import gxnor
import gxnor.nn as gnn
from benchmarks.zoo import CLASSES, SHAPES, ZOO
from gxnor.cli import bench
from gxnor.cli import main as cli
from gxnor.data import load
from gxnor.optim import DST
from gxnor.program import file, reference
from gxnor.runtime.engine import Engine


def standardised(images):
    return ((images.reshape(-1, 64) / 255 - 0.3) / 0.35).astype(np.float32)


SAMPLES = {  # of the digits' images; as they are for the others
    "keyword spotting": lambda images: images[:, 0],
    "tabular perceptron": standardised,
    "ResNet-18": lambda images: images.repeat(4, axis=2).repeat(4, axis=3),
}
TARGETS = {  # and of their labels
    "U-Net": lambda images, labels: (images[:, 0] > 100).long(),
    "two heads": lambda images, labels: {"digit": labels, "odd": labels % 2},
}


@pytest.fixture(scope="module")
def digits():
    data = load("digits")
    return data.train_images, torch.from_numpy(data.train_labels).long(), data.test_images[:300]


def named(outputs):
    return outputs if isinstance(outputs, dict) else {"logits": outputs}


@pytest.mark.parametrize("name", ZOO)
def test_a_network_goes_all_the_way(name, digits, tmp_path, capsys, monkeypatch):
    images, labels, test = digits
    samples = SAMPLES.get(name, lambda images: images)
    targets = named(TARGETS.get(name, lambda images, labels: labels)(torch.from_numpy(images), labels))
    images, test = torch.from_numpy(samples(images)), samples(test)
    shape = test.shape[1:]
    assert shape == SHAPES.get(name, (1, 8, 8))
    torch.manual_seed(0)
    model = ZOO[name]()
    gnn.discretize(model)
    checked = gxnor.check(model, shape)
    assert checked.exports, str(checked)

    optimizer, losses = DST(model, lr=0.1), []
    for chosen in torch.arange(720).split(48):
        optimizer.zero_grad()
        scores = named(model(images[chosen]))
        losses.append(sum(F.cross_entropy(scores[head], targets[head][chosen]) for head in targets))
        losses[-1].backward()
        optimizer.step()
    update_bn(images[:400].split(100), model)
    assert sum(losses[-4:]) < sum(losses[:4])

    model.eval()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        program = gxnor.export(model, shape, CLASSES.get(name, 10), samples=test[:20])
    assert {str(warning.message) for warning in said} == set(checked.notes)

    path = tmp_path / "net.gxnor"
    program.save(path)
    scores = named(reference.run(program, test))
    logits = named(Engine(file.read(path)).run(test))
    with torch.no_grad():
        expected = named(model(torch.from_numpy(test)))
    exact = not any("can differ" in note for note in checked.notes)
    assert scores.keys() == logits.keys() == expected.keys()
    for head in expected:
        np.testing.assert_array_equal(logits[head], scores[head], strict=True)
        agreed = scores[head].argmax(1) == expected[head].argmax(1).numpy()
        assert agreed.mean() >= (1 if exact else 0.98)

    np.save(tmp_path / "some.npy", test[:4])
    assert cli.main(["inspect", str(path), "--data", str(tmp_path / "some.npy"), "--json"]) == 0
    inspected = json.loads(capsys.readouterr().out)
    assert inspected["sizes"]["weights"] == sum(p.numel() for p in model.parameters() if p.dim() > 1)
    assert inspected["events"]["total"]["fired"] > 0 and inspected["outputs"].keys() == expected.keys()

    monkeypatch.setattr(bench, "SECONDS", 0)
    monkeypatch.setattr(bench, "TURNS", 1)
    assert cli.main(["bench", str(path), "--batch", "1", "5", "--threads", "1", "--explain"]) == 0
    assert "scale" in capsys.readouterr().out
