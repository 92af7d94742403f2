"""A network of one's own on the digits: the optimizer's rule, how the rate falls, and fine-tuning after float training.

python benchmarks/own_model.py          # the tables of docs/own-model.md, some five minutes on one core
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR
from torch.optim.swa_utils import update_bn

import gxnor.nn as gnn
from gxnor.data import load
from gxnor.optim import DST

SEEDS, EPOCHS, BATCH = (0, 1, 2), 15, 50
PAPER = {"increment": "adam", "counter": 0, "m": 3.0, "probability": "tanh"}


def network(linear=gnn.Linear, activation=gnn.Activation) -> nn.Sequential:
    layers: list[nn.Module] = [gnn.Pixels(), nn.Flatten()]
    for inputs, outputs in ((64, 256), (256, 256)):
        layers += [linear(inputs, outputs), nn.BatchNorm1d(outputs), activation()]
    return nn.Sequential(*layers, linear(256, 10), nn.BatchNorm1d(10))


class Digits:
    def __init__(self):
        data = load("digits")
        self.x, self.y = torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels).long()
        self.test_x, self.test_y = torch.from_numpy(data.test_images), torch.from_numpy(data.test_labels).long()

    def train(self, model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int, end: float) -> tuple[float, float]:
        """The rate falls exponentially to `end` times what it was. Returns the accuracies before and after `update_bn`."""
        schedule = ExponentialLR(optimizer, end ** (1 / (epochs * (len(self.x) // BATCH))))
        model.train()
        for _ in range(epochs):
            for chosen in torch.randperm(len(self.x)).split(BATCH)[: len(self.x) // BATCH]:
                optimizer.zero_grad()
                F.cross_entropy(model(self.x[chosen]), self.y[chosen]).backward()
                optimizer.step()
                schedule.step()
        before = self.accuracy(model)
        update_bn(self.x.split(200), model)
        return before, self.accuracy(model)

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        """Percent of the test images."""
        return 100 * (model.eval()(self.test_x).argmax(1) == self.test_y).double().mean().item()


def rules(digits: Digits) -> None:
    print(
        "| rule | rate stays, no `update_bn` | rate stays | falls to a tenth | falls to a hundredth |\n|---|---|---|---|---|"
    )
    for name, settings in (
        *((f"the defaults, `lr={lr}`", {"lr": lr}) for lr in (0.03, 0.1, 0.2)),
        ("the paper's rule, `lr=0.01`", {"lr": 0.01, **PAPER}),
    ):
        columns: list[list[float]] = []
        for end in (1.0, 0.1, 0.01):
            values = []
            for seed in SEEDS:
                torch.manual_seed(seed)
                model = network()
                values.append(digits.train(model, DST(model, **settings), EPOCHS, end))
            columns += [list(each) for each in zip(*values, strict=True)][0 if end == 1 else 1 :]
        print(f"| {name} | {' | '.join(f'{sum(each) / len(each):.1f} %' for each in columns)} |", flush=True)


def fine_tuning(digits: Digits) -> None:
    trained = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        trained.append(network(nn.Linear, nn.ReLU))
        digits.train(trained[-1], torch.optim.Adam(trained[-1].parameters(), 3e-3), EPOCHS, 0.03)

    def row(name: str, *numbers: list[float]) -> None:
        print(f"| {name} | {' | '.join(', '.join(f'{n:.1f}' for n in each) + ' %' for each in numbers)} |", flush=True)

    print("\n| three seeds | 2 epochs | 10 epochs |\n|---|---|---|")
    row("the float network", [digits.accuracy(model) for model in trained])
    row("discretized, not trained further", [digits.accuracy(discrete(model, digits)) for model in trained])
    for lr in (0.003, 0.01, 0.03, 0.1):
        columns = []
        for epochs in (2, 10):
            columns.append([])
            for seed, model in zip(SEEDS, trained, strict=True):
                torch.manual_seed(seed)
                model = discrete(model, digits)
                columns[-1].append(digits.train(model, DST(model, lr=lr), epochs, 0.1)[1])
        row(f"`lr={lr}`", *columns)


def discrete(model: nn.Module, digits: Digits) -> nn.Module:
    """A float network's discrete copy, with statistics of its own."""
    model = copy.deepcopy(model)
    gnn.discretize(model)
    update_bn(digits.x.split(200), model)
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)
    rules(Digits())
    fine_tuning(Digits())
