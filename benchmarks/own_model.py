"""A network of one's own on the digits: the optimizer's rule, how the rate falls, and fine-tuning after float training.

python benchmarks/own_model.py          # the tables of docs/own-model.md, half an hour on one core
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

SEEDS, BATCH = (0, 1, 2), 50
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

    def train(self, model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int, end: float = 1.0) -> None:
        """The rate falls exponentially to `end` times what it was."""
        schedule = ExponentialLR(optimizer, end ** (1 / (epochs * (len(self.x) // BATCH))))
        model.train()
        for _ in range(epochs):
            for chosen in torch.randperm(len(self.x)).split(BATCH)[: len(self.x) // BATCH]:
                optimizer.zero_grad()
                F.cross_entropy(model(self.x[chosen]), self.y[chosen]).backward()
                optimizer.step()
                schedule.step()
        update_bn(self.x.split(200), model)

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        """Percent of the test images."""
        return 100 * (model.eval()(self.test_x).argmax(1) == self.test_y).double().mean().item()


def show(name: str, values: list[float]) -> None:
    print(f"{name:60} {sum(values) / len(values):.2f}   {', '.join(f'{value:.2f}' for value in values)}", flush=True)


def rules(digits: Digits) -> None:
    for name, settings in (
        *((f"the defaults, lr={lr}", {"lr": lr}) for lr in (0.03, 0.1, 0.2)),
        ("the paper's rule, lr=0.01", {"lr": 0.01, **PAPER}),
    ):
        for end in (1.0, 0.1, 0.01):
            values = []
            for seed in SEEDS:
                torch.manual_seed(seed)
                model = network()
                digits.train(model, DST(model, **settings), 30, end)
                values.append(digits.accuracy(model))
            show(f"{name}, rate falls to {end:g}", values)


def fine_tuning(digits: Digits) -> None:
    trained = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        trained.append(network(nn.Linear, nn.ReLU))
        digits.train(trained[-1], torch.optim.Adam(trained[-1].parameters(), 3e-3), 15, 0.03)
    show("float", [digits.accuracy(model) for model in trained])
    for lr in (0.01, 0.03, 0.1):
        for epochs in (2, 10):
            values = []
            for seed, model in zip(SEEDS, trained, strict=True):
                torch.manual_seed(seed)
                model = copy.deepcopy(model)
                gnn.discretize(model)
                digits.train(model, DST(model, lr=lr), epochs, 0.1)
                values.append(digits.accuracy(model))
            show(f"fine-tuned, lr={lr}, {epochs} epochs", values)


if __name__ == "__main__":
    torch.set_num_threads(1)
    rules(Digits())
    fine_tuning(Digits())
