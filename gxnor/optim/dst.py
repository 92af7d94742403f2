"""DST: the optimizer under which discrete weights move from state to state and no real-valued copy of them exists.

Every parameter gets an increment dW from the chosen gradient rule (`gxnor.optim.increment`). A `DiscreteParameter`
moves by the transition rule of GXNOR-Net (`gxnor.optim.transition`); any other parameter (batch norm, bias, a latent
weight) is real and becomes W + dW.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from gxnor.nn.parameter import DiscreteParameter
from gxnor.optim import counter as counters
from gxnor.optim import increment as increments
from gxnor.optim import stream
from gxnor.optim import transition as transitions


class DST(torch.optim.Optimizer):
    """Optimizer for networks with discrete weights.

    Args:
        params: a module (all its parameters; the simplest), or what every torch optimizer takes: parameters, named
            parameters, or groups.
        lr: learning rate. With the tanh rule a small dW moves a weight with probability m |dW| / dz, so only the
            product m * lr counts for discrete weights.
        increment: "factored" (next to no state), "adam" (8 bytes a weight) or "sgd" (4), see `gxnor.optim.increment`.
        betas, eps: the increment's settings. betas may be changed between steps.
        counter: bits a weight in which increments too small to move a state are remembered, see `gxnor.optim.counter`;
            taken as fewer where the space has no room for them in a byte.
        m, probability: the transition rule, "tanh" (the paper's) or "linear".
        generator: the torch.Generator (on the CPU) that keys the stochastic moves' streams; its state is saved in
            `state_dict`. Default: a new one, seeded from torch's global generator.
        model: where given, every trainable parameter of it must be in `params`.

    Raises ValueError for impossible settings and for a model with a parameter that no group claims; `step` raises
    FloatingPointError, naming the parameter and leaving all weights as they were, for a gradient that is not finite.
    """

    def __init__(
        self,
        params: nn.Module | Iterable,
        lr: float = 0.01,
        *,
        increment: str = "adam",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        counter: int = 0,
        m: float = 3.0,
        probability: str = "tanh",
        generator: torch.Generator | None = None,
        model: nn.Module | None = None,
    ):
        if isinstance(params, nn.Module):
            params, model = list(params.named_parameters()), params
        defaults = {"lr": lr, "increment": increment, "betas": tuple(betas), "eps": eps,
                    "counter": counter, "m": m, "probability": probability}  # fmt: skip
        super().__init__(params, defaults)
        if model is not None:
            self._check_claims(model)
        if generator is None:
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self.generator = generator

    def add_param_group(self, group: dict) -> None:
        _check_settings({**self.defaults, **group})
        super().add_param_group(group)

    def _check_claims(self, model: nn.Module) -> None:
        claimed = {id(p) for group in self.param_groups for p in group["params"]}
        missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in claimed]
        if missing:
            raise ValueError(
                f"no parameter group claims {', '.join(missing)}; "
                "pass them too, or freeze them with requires_grad_(False)"
            )

    @torch.no_grad()
    def step(self, closure=None):
        """One step. Parameters without a gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._check_gradients()
        key = int(torch.randint(-(2**63), 2**63 - 1, (), generator=self.generator))
        number = 0
        for group in self.param_groups:
            rule = increments.RULES[group["increment"]]
            for p in group["params"]:
                number += 1
                if p.grad is None:
                    continue
                state = self.state[p]
                dW = rule(p.grad, state, group)
                if isinstance(p, DiscreteParameter):
                    bits = min(group["counter"], counters.most_bits(p.space))
                    if bits and "counter" not in state:
                        state["counter"] = counters.new_counters(p, bits)
                    moved = transitions.move(
                        p, dW, stream.subkey(key, number), group["m"], group["probability"], state.get("counter"), bits
                    )
                    state["moved"] = state.get("moved", 0) + moved
                    state["moves"] = state.get("moves", 0) + p.numel()
                else:
                    p.add_(dW)
        return loss

    def _check_gradients(self) -> None:
        sums: dict[torch.device, list[torch.Tensor]] = {}
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    sums.setdefault(p.grad.device, []).append(p.grad.sum().double())
        # Read together: a GPU then waits once a step, not once a parameter.
        if all(math.isfinite(total) for values in sums.values() for total in torch.stack(values).tolist()):
            return
        for group in self.param_groups:
            names = group.get("param_names") or range(len(group["params"]))
            for name, p in zip(names, group["params"], strict=True):
                if p.grad is not None and not torch.isfinite(p.grad).all():  # a sum may overflow where no element does
                    raise FloatingPointError(
                        f"the gradient of parameter {name} is not finite; no weight was moved. "
                        "A lower learning rate, or a look at the loss and the data, is the usual mend"
                    )

    def flip_rates(self) -> dict[torch.Tensor, float]:
        """Share of each discrete parameter's weights that moved in a step, averaged over the steps since the last
        call. The counts are part of the state, so they survive a checkpoint."""
        rates = {}
        for p, state in self.state.items():
            if state.get("moves"):
                rates[p] = state["moved"] / state["moves"]
                state["moved"] = state["moves"] = 0
        return rates

    def state_dict(self) -> dict:
        """Torch's, and the state of the generator of the stochastic moves."""
        return {**super().state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Torch's, and the generator goes on where the saved one stood. Raises ValueError for another optimizer's."""
        if "generator" not in state_dict:
            raise ValueError("expected the state of a DST optimizer, got one without a generator")
        state_dict = dict(state_dict)
        generator = state_dict.pop("generator")
        super().load_state_dict(state_dict)
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            for p, number in zip(group["params"], saved["params"], strict=True):
                counter = state_dict["state"].get(number, {}).get("counter")
                if counter is not None:  # torch has made floats of it
                    self.state[p]["counter"] = counter.to(p.device, copy=True)
        self.generator.set_state(generator.cpu())

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "generator": self.generator}


def _check_settings(group: dict) -> None:
    if not 0 <= group["lr"] < math.inf:
        raise ValueError(f"lr must be finite and not negative, got {group['lr']!r}")
    if group["increment"] not in increments.RULES:
        raise ValueError(f"increment must be one of {', '.join(increments.RULES)}, got {group['increment']!r}")
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise ValueError(f"betas must lie in [0, 1), got {group['betas']!r}")
    if not (isinstance(group["counter"], int) and 0 <= group["counter"] <= 7):
        raise ValueError(f"counter must be 0 to 7 bits, got {group['counter']!r}")
    if not group["eps"] > 0:
        raise ValueError(f"eps must be positive, got {group['eps']!r}")
    transitions.check_settings(group["m"], group["probability"])
