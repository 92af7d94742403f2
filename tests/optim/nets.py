"""A small network and its training, for the tests of DST."""

import functools
import io

import torch
from torch import nn

from gxnor import optim
from gxnor.nn import Activation, Conv2d, DiscreteParameter, Linear

# The paper's rule, unless a test says otherwise.
DST = functools.partial(optim.DST, increment="adam", counter=0, m=3.0, probability="tanh")
SEED = 11


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        Conv2d(1, 4, 3), nn.BatchNorm2d(4), Activation(), nn.Flatten(), Linear(64, 8), nn.BatchNorm1d(8), Activation(2),
        Linear(8, 3, bias=True),
    )  # fmt: skip


def generator(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        draws = torch.Generator().manual_seed(step)
        x, labels = torch.randn(16, 1, 6, 6, generator=draws), torch.randint(3, (16,), generator=draws)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()


def bits(net: nn.Module) -> list[torch.Tensor]:
    return [t.packed if isinstance(t, DiscreteParameter) else t for t in net.state_dict().values()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(s, t) for s, t in zip(a, b, strict=True))


def saved(obj):
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def real(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))
