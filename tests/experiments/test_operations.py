"""Operations an image, against the events of the exported program and against counts by hand."""

import numpy as np
import pytest
import torch

from experiments.operations import count
from gxnor.analysis import events
from gxnor.exporter import export
from gxnor.training.build import build

CLASSES = tuple("0123456789")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
PRODUCTS = 36 * 9 * 4 + 9 * 4 * 16 + 16 * 10  # 4C3 on 8 x 8, pooled to 3 x 3, 16FC, 10


def counted(tiny, weights, activations, *settings):
    recipe = tiny("network.layers=4C3-MP2-16FC-10", "network.padding=valid", f"precision.weights={weights}",
                  f"precision.activations={activations}", *settings)  # fmt: skip
    model = build(recipe, (1, 8, 8), CLASSES).eval()
    return model, count(model, recipe, IMAGES, CLASSES)


def test_real_networks_by_their_shapes(tiny):
    _, full = counted(tiny, "real", "real")
    assert (full["products"], full["fired"], full["operation"]) == (PRODUCTS, PRODUCTS, "multiply-add")
    _, bwn = counted(tiny, 0, "real")
    assert (bwn["products"], bwn["fired"], bwn["operation"]) == (PRODUCTS, PRODUCTS, "addition")
    model, twn = counted(tiny, 1, "real")
    zeros = [(layer.states() == 1).sum().item() for layer in (model.conv1, model.fc2, model.fc3)]
    assert twn["fired"] == PRODUCTS - (36 * zeros[0] + zeros[1] + zeros[2])


@pytest.mark.parametrize("weights, activations, operation", [(1, 1, "XNOR"), (0, 0, "XNOR"), (2, 3, "multiply-add")])
def test_discrete_networks_by_their_events(tiny, weights, activations, operation):
    model, ours = counted(tiny, weights, activations)
    total = events.count(export(model, (1, 8, 8), CLASSES), IMAGES).total
    assert ours["fired"] == total.fired / 3 and ours["products"] == PRODUCTS == total.macs / 3
    assert ours["operation"] == operation and (ours["zero_activations"] > 0) == (activations > 0)


def test_latent_weights_count_by_their_states(tiny):
    torch.manual_seed(0)
    _, latent = counted(tiny, 1, 1, "precision.latent=true")
    assert 0 < latent["fired"] < PRODUCTS and latent["operation"] == "XNOR"
    _, latent = counted(tiny, 1, "real", "precision.latent=true")
    assert 0 < latent["fired"] < PRODUCTS and latent["operation"] == "addition"
