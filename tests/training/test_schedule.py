"""Learning rate, momentum, batch and states of activations along a run, and the losses."""

import math

import pytest
import torch

from gxnor.nn import Activation
from gxnor.nn.residual import RoundedSum
from gxnor.training import schedule
from gxnor.training.build import build
from gxnor.training.losses import LOSSES, squared_hinge
from gxnor.training.recipe import Optimizer, Train
from gxnor.training.recipes import load


def test_rates():
    exponential = Optimizer(lr=0.1, lr_end=1e-3)
    assert [schedule.learning_rate(exponential, f, 0) for f in (0, 0.5, 1)] == pytest.approx([0.1, 0.01, 0.001])
    cosine = Optimizer(lr=0.1, lr_end=0.02, schedule="cosine")
    assert [schedule.learning_rate(cosine, f, 0) for f in (0, 0.5, 1)] == pytest.approx([0.1, 0.06, 0.02])
    steps = Optimizer(lr=0.1, schedule="constant", milestones=[10, 20], gamma=0.1)
    assert [schedule.learning_rate(steps, 0.5, e) for e in (9, 10, 19, 20)] == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_milestones_come_on_top_of_a_schedule():
    both = Optimizer(lr=0.1, lr_end=1e-3, milestones=[3], gamma=0.5)
    assert schedule.learning_rate(both, 0.5, 3) == pytest.approx(0.005)


def test_the_window_of_momentum_grows_exponentially():
    settings = Optimizer(beta1=0.9, beta1_end=0.999)
    assert [schedule.momentum(settings, f) for f in (0, 0.5, 1)] == pytest.approx([0.9, 0.99, 0.999])
    assert schedule.momentum(Optimizer(beta1=0.9), 0.7) == pytest.approx(0.9)


def test_apply_reaches_every_group():
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.Adam([{"params": [a]}, {"params": [b]}])
    schedule.apply(optimizer, Optimizer(lr=0.1, lr_end=1e-3, beta1_end=0.99, beta2=0.9), 0.5, 0)
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.01)
        assert group["betas"] == (pytest.approx(1 - math.sqrt(0.1 * 0.01)), 0.9)


def test_squared_hinge_is_the_formula():
    scores = torch.tensor([[2.0, 0.5, -3.0], [0.0, 1.0, -0.5]])
    labels = torch.tensor([0, 2])
    expected = [0, (1 + 0.5) ** 2, 0, 1, 4, (1 + 0.5) ** 2]
    assert squared_hinge(scores, labels).item() == pytest.approx(sum(expected) / 6)
    assert squared_hinge(torch.tensor([[5.0, -5.0]]), torch.tensor([0])).item() == 0


def test_losses_by_name():
    scores, labels = torch.tensor([[0.0, 0.0]]), torch.tensor([1])
    assert LOSSES["cross-entropy"](scores, labels).item() == pytest.approx(math.log(2))
    assert LOSSES["squared-hinge"](scores, labels).item() == 1


def test_the_batch_grows_exponentially_from_the_first_epoch_to_the_last():
    settings = Train(epochs=5, batch=100, batch_growth=16)
    assert [schedule.growth(settings, epoch) for epoch in range(5)] == [1, 2, 4, 8, 16]
    assert [schedule.growth(Train(epochs=4, batch=100, batch_growth=10), epoch) for epoch in range(4)] == [1, 2, 5, 10]
    assert schedule.growth(Train(epochs=1, batch=100, batch_growth=16), 0) == 1
    assert schedule.growth(Train(epochs=5, batch=100), 4) == 1


@pytest.mark.parametrize(
    "epochs, stages, activations, expected",
    [(7, [3, 2], 1, [3, 3, 3, 2, 2, 1, 1]), (3, [2], 0, [2, 2, 0]), (3, [6, 4], 3, [6, 4, 3]), (2, [], 1, [1, 1])],
)
def test_activations_fall_in_equal_stages(epochs, stages, activations, expected):
    keys = {"train.epochs": epochs, "precision.activation_stages": stages, "precision.activations": activations}
    recipe = load("digits", [f"{key}={value}" for key, value in keys.items()])
    assert [schedule.activations(recipe, epoch) for epoch in range(epochs)] == expected


def test_real_activations_have_no_stages():
    recipe = load("digits", ["precision.activations=real", "train.epochs=2"])
    assert [schedule.activations(recipe, epoch) for epoch in range(2)] == [None, None]


def test_stages_of_activations_leave_the_sums_of_residual_blocks_alone():
    settings = ["network.layers=8C3-8R3-AP-10", "precision.shortcuts=5", "precision.activation_stages=[3]"]
    recipe = load("digits", settings)
    model = build(recipe, (1, 8, 8), tuple("0123456789"))
    for epoch, activations in ((0, {3}), (recipe.train.epochs - 1, {1})):
        schedule.set_activations(model, recipe, epoch)
        assert {m.N for m in model.modules() if isinstance(m, Activation)} == activations
        assert {m.N for m in model.modules() if isinstance(m, RoundedSum)} == {5}
