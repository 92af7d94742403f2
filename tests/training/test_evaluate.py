"""What is read off a network: scores, margins, statistics of layers, sizes."""

import pytest
import torch
from torch import nn

from gxnor.nn import Activation, Conv2d, Linear
from gxnor.nn.networks import network
from gxnor.nn.precision import PRECISIONS
from gxnor.optim import DST
from gxnor.training.evaluate import (
    Evaluation,
    counting_zeros,
    evaluate,
    layer_statistics,
    weight_summary,
)
from gxnor.training.losses import squared_hinge


def test_accuracy_confusion_and_margins():
    scores = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 5.0, 1.0], [1.0, 0.5, 0.0]])
    result = Evaluation(scores, torch.tensor([0, 1, 1, 2]), 0.0)
    assert result.accuracy == 0.5
    assert result.confusion().tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert result.margins().tolist() == [2, -1, 4, -1]


def test_evaluation_does_not_depend_on_batches_and_leaves_the_mode_as_it_was():
    torch.manual_seed(0)
    model = network("4C3-10", (1, 6, 6))
    images = torch.randint(0, 256, (2500, 1, 6, 6), dtype=torch.uint8)
    model.train()
    with torch.no_grad():
        model(images[:500])
    result = evaluate(model, images, torch.zeros(2500, dtype=torch.int64), squared_hinge, lambda x: x)
    assert model.training
    with torch.no_grad():
        assert torch.equal(result.scores, model.eval()(images))


def test_layer_statistics_count_what_is_there():
    torch.manual_seed(0)
    model = nn.Sequential(Conv2d(1, 4, 3), Activation(), nn.Flatten(), Linear(64, 5, N=2), nn.ReLU(), nn.Linear(5, 2))
    x = torch.randn(8, 1, 6, 6) * 3
    with counting_zeros(model) as zeros, torch.no_grad():
        model(x)
        hidden = model[1](model[0](x))
    conv, dense, real = layer_statistics(model, zeros, {model[0].weight: 0.25})
    assert (conv["name"], conv["N"], conv["weights"], conv["flip_rate"]) == ("0", 1, 36, 0.25)
    values = model[0].weight.dequantize()
    assert conv["states"] == pytest.approx([(values == v).float().mean().item() for v in (-1, 0, 1)])
    # The activation ran twice on the same input: within the model, and by itself.
    assert conv["zero_activations"] == pytest.approx((hidden == 0).float().mean().item())
    assert len(dense["states"]) == 5 and dense["zero_activations"] is None
    assert real["N"] is None and real["states"] is None


@pytest.mark.parametrize(
    "kind, bits, held", [("gxnor", 1.6, 8.25), ("bnn", 1, 8.125), ("full", 32, 12), ("latent", 1.6, 12)]
)
def test_sizes_of_the_special_cases(kind, bits, held):
    model = network("8C3-64FC-10", (1, 12, 12), PRECISIONS[kind])
    optimizer = DST(model, lr=0.01, increment="adam", counter=0)
    model(torch.randint(0, 256, (4, 1, 12, 12), dtype=torch.uint8)).square().sum().backward()
    optimizer.step()
    summary = weight_summary(model, optimizer)
    assert summary["weights"] == 72 + 800 * 64 + 640
    assert summary["bits_per_weight"] == pytest.approx(bits, abs=0.01)
    norms = (8 + 64 + 10) * (2 + 2 + 4) * 4 + 3 * 8  # floats: weight and bias, statistics, moments; counts of batches
    assert summary["train_state_bytes_per_weight"] == pytest.approx(held + norms / summary["weights"])
    if kind == "gxnor":
        assert summary["zero_fraction"] == pytest.approx(1 / 3, abs=0.01)
