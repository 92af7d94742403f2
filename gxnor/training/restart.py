"""The authors' restart search: when nothing improves, go on from the best weights, moved a little at random.

In the published scripts this step is compiled out of the graph and never runs; here it does, where a recipe asks for it.
"""

from __future__ import annotations

import torch
from torch import nn

from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.stream import subkey
from gxnor.optim.transition import TransitionRule, move


@torch.no_grad()
def move_towards_random(model: nn.Module, share: float, key: int) -> int:
    """Moves every discrete weight, in expectation, `share` of the way to a random state:

        dW = share * (random state - W),  spent by the linear transition rule with m = 1

    Returns how many weights moved. Float parameters stay."""
    moved = 0
    for number, weight in enumerate(p for p in model.parameters() if isinstance(p, DiscreteParameter)):
        generator = torch.Generator().manual_seed(subkey(key, 2 * number) >> 1)
        target = (
            DiscreteParameter.random(weight.shape, weight.space, generator).dequantize(torch.float32).to(weight.device)
        )
        increment = share * (target - weight.dequantize(torch.float32))
        moved += move(weight, increment, subkey(key, 2 * number + 1), TransitionRule(m=1.0, probability="linear"))
    return moved
