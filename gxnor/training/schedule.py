"""What changes along a run: the learning rate, the window of momentum, the batch and the states of activations."""

from __future__ import annotations

import math

import torch

from gxnor.nn.activation import Activation
from gxnor.training.recipe import Optimizer, Recipe, Train


def learning_rate(settings: Optimizer, fraction: float, epoch: int) -> float:
    """The rate at `fraction` of the run, in [0, 1), in the given epoch (from 0):

        constant     lr
        exponential  lr (lr_end / lr)^fraction
        cosine       lr_end + (lr - lr_end) (1 + cos(pi fraction)) / 2

    times gamma for every milestone that has passed.
    """
    start, end = settings.lr, settings.lr_end
    rate = {
        "constant": start,
        "exponential": start * (end / start) ** fraction,
        "cosine": end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2,
    }[settings.schedule]
    return rate * settings.gamma ** sum(epoch >= milestone for milestone in settings.milestones)


def momentum(settings: Optimizer, fraction: float) -> float:
    """beta1 at `fraction` of the run: 1 - beta1 goes exponentially from 1 - beta1 to 1 - beta1_end.

    A fixed window lets a weight's states settle at the signal-to-noise ratio within that window, however small the rate;
    a window that grows as the rate falls keeps averaging, as latent weights do (docs/method.md).
    """
    start, end = 1 - settings.beta1, 1 - settings.beta1_end
    return 1 - start * (end / start) ** fraction


def growth(settings: Train, epoch: int) -> int:
    """How many times `batch` images a step of the given epoch (from 0) takes: from 1 in the first, exponentially and
    rounded, to `growth` in the last.

    A counter of few bits cannot average many small increments: each is rounded to a whole count. So where the rate would
    fall below a count, the batch grows instead, and the average is taken before the count (docs/method.md).
    """
    return round(settings.batch_growth ** (epoch / max(settings.epochs - 1, 1)))


def activations(recipe: Recipe, epoch: int) -> int | None:
    """N2 in the given epoch (from 0), None where activations are real. A run has as many stages, equally long, as there are
    spaces in `activation_stages` and `activations`.

    Activations of more states pass more of the gradient, so that a network learns faster with them, and keeps most of that
    when they have fewer (docs/lab-notes/cifar10.md, "Levels that become fewer")."""
    spaces = recipe.precision
    if spaces.activations == "real":
        return None
    stages = [*spaces.activation_stages, spaces.activations]
    return stages[epoch * len(stages) // recipe.train.epochs]


def set_activations(model: torch.nn.Module, recipe: Recipe, epoch: int) -> None:
    """Gives every discrete activation of the model the space of the epoch."""
    space = activations(recipe, epoch)
    for module in model.modules():
        if isinstance(module, Activation) and space is not None:
            module.N = space


def apply(optimizer: torch.optim.Optimizer, settings: Optimizer, fraction: float, epoch: int) -> None:
    """Sets the rate and beta1 of every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(settings, fraction, epoch)
        group["betas"] = (momentum(settings, fraction), settings.beta2)
