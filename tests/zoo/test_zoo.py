"""Networks of today through the whole of it: discretize, check, a little training, export, equality, inspect."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import update_bn

import gxnor
import gxnor.nn as gnn
from gxnor.analysis import events, sizes
from gxnor.data import load
from gxnor.optim import DST
from gxnor.program import reference
from gxnor.runtime.engine import Engine
from tests.zoo.models import ZOO


@pytest.fixture(scope="module")
def digits():
    data = load("digits")
    return torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels).long(), data.test_images[:200]


@pytest.mark.parametrize("name", ZOO)
def test_a_network_goes_all_the_way(name, digits):
    images, labels, test = digits
    if name == "keyword spotting":
        images, test = images[:, 0], test[:, 0]
    shape = test.shape[1:]
    torch.manual_seed(0)
    model = ZOO[name]()
    gnn.discretize(model)
    checked = gxnor.check(model, shape)
    assert checked.exports, str(checked)

    targets = labels if name != "U-Net" else (images[:, 0] > 100).long()
    optimizer, losses = DST(model, lr=0.1), []
    for chosen in torch.arange(720).split(48):
        optimizer.zero_grad()
        losses.append(F.cross_entropy(model(images[chosen]), targets[chosen]))
        losses[-1].backward()
        optimizer.step()
    update_bn(images[:400].split(100), model)
    assert sum(losses[-4:]) < sum(losses[:4])

    model.eval()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        program = gxnor.export(model, shape, 2 if name == "U-Net" else 10, samples=test[:20])
    assert {str(warning.message) for warning in said} == set(checked.notes)

    scores = reference.run(program, test)
    np.testing.assert_array_equal(Engine(program).run(test), scores)
    with torch.no_grad():
        expected = model(torch.from_numpy(test)).argmax(1).numpy()
    exact = not any("can differ" in note for note in checked.notes)
    assert (scores.argmax(1) == expected).mean() >= (1 if exact else 0.98)

    assert events.count(program, test[:4]).total.fired > 0
    assert sizes.measure(program).weights == sum(p.numel() for p in model.parameters() if p.dim() > 1)
