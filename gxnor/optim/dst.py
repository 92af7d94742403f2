"""DST: the optimizer that moves discrete weights from state to state, without a real-valued copy of them.

Every parameter gets an increment dW from the chosen gradient rule (`gxnor.optim.increment`). A `DiscreteParameter`
moves by the transition rule of GXNOR-Net (`gxnor.optim.transition`); any other parameter (batch norm, bias, a latent
weight) is real and becomes W + dW.

The gradients of all layers together would be as large as the full-precision weights that DST does without; with
`update_in_backward` the gradient of one layer lives at a time.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

import torch
from torch import nn

from gxnor import native
from gxnor.nn import stream
from gxnor.nn.parameter import DiscreteParameter
from gxnor.optim import counter as counters
from gxnor.optim import gradients, replicas
from gxnor.optim import increment as increments
from gxnor.optim.statistics import RunningStatistics
from gxnor.optim.transition import TransitionRule, move

SLOW = (
    "the native library is not built, so training runs on the slow reference kernels: install gxnor where there is a C++ "
    "compiler"
)


class DST(torch.optim.Optimizer):
    """Optimizer for networks with discrete weights.

    Args:
        params: a module (all its parameters; the simplest), or what every torch optimizer takes: parameters, named
            parameters, or groups.
        lr: learning rate. It should start between 0.03 and 0.2 and fall to a tenth or less by the end, with a schedule of
            torch.optim.lr_scheduler, because moving states cost accuracy. Without a schedule the default trains well. A
            small dW moves a weight with probability m |dW| / dz, so only the product m * lr counts for discrete weights.
        increment: "factored" (almost no state), "adam" (8 bytes per weight) or "sgd" (4), see `gxnor.optim.increment`.
        betas, eps: the increment's settings. betas may be changed between steps.
        counter: bits per weight that remember increments too small to move a state, see `gxnor.optim.counter`; fewer where
            state and counter would not fit in a byte.
        split_zero: ternary weights have a counter that is twice as fine, in the same memory; of others nothing changes.
        hysteresis: how far a weight that changes its state is carried on, 0 to 0.5 steps between states, so that noise does
            not bring it back; see `gxnor.optim.transition`. 0.125 is good. It is rounded to whole places of the counter.
        m, probability: the transition rule: "linear", or the paper's "tanh" with m = 3, which takes no counter.
        generator: the torch.Generator (on the CPU) that keys the stochastic moves' streams; its state is saved in
            `state_dict`. Default: a new one, seeded from torch's global generator.
        model: if given, all its trainable parameters must be in `params`.

    Raises ValueError for impossible settings and for a model with a parameter that no group claims. `step` raises
    FloatingPointError, naming the parameter, for a gradient that is not finite or too large to square. Weights and the
    optimizer's memory are then unchanged, and the running statistics of a module given as `params` or `model` are those
    after the last `zero_grad()` or `step()`.

    After training, recalibrate batch norm with `torch.optim.swa_utils.update_bn(batches, model)`: running statistics
    averaged while weights moved lag behind them. docs/own-model.md has the whole loop, with measurements.

    `update_in_backward` moves the weights inside the backward pass, so that no model-sized gradient exists.

    In a process group, all workers train one network: the random moves are those of worker 0's generator, and `step` raises
    RuntimeError on all workers if their weights are no longer the same.
    """

    _key: int | None = None  # of the step under way, once something has moved in it
    _statistics: RunningStatistics | None = None
    _hooks: contextlib.ExitStack | None = None
    _accumulating = False

    def __init__(
        self,
        params: nn.Module | Iterable,
        lr: float = 0.03,
        *,
        increment: str = "factored",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        counter: int = 4,
        split_zero: bool = False,
        hysteresis: float = 0.0,
        m: float = 1.0,
        probability: str = "linear",
        generator: torch.Generator | None = None,
        model: nn.Module | None = None,
    ):
        if isinstance(params, nn.Module):
            model = params
            params = list(model.named_parameters())
        defaults = {"lr": lr, "increment": increment, "betas": tuple(betas), "eps": eps,
                    "counter": counter, "split_zero": split_zero, "hysteresis": hysteresis, "m": m,
                    "probability": probability}  # fmt: skip
        super().__init__(params, defaults)
        if not native.PATH.exists():
            warnings.warn(SLOW, RuntimeWarning, stacklevel=2)
        if model is not None:
            self._check_claims(model)
            self._statistics = RunningStatistics(model)
        self._moved: set[int] = set()  # numbers of the parameters that have moved in the step under way
        if generator is None:
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
            raise ValueError(f"generator must be a torch.Generator on the CPU, got {generator!r}")
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

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        self._remember_statistics()

    @torch._disable_dynamo  # torch.compile(optimizer.step) runs it as it is, as it does with what is around torch's own
    @torch.no_grad()
    def step(self, closure=None):
        """One step. Parameters without a gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        given = [(name, p, group, number) for name, p, group, number in self._parameters() if p.grad is not None]
        wrong = gradients.find_wrong([(name, p.grad) for name, p, *_ in given])
        if replicas.any_of(wrong is not None, self._device()):
            self._refuse(wrong or "another worker's gradient is not finite or too large")
        for name, *_, number in given:
            self._check_moves_once(name, number)
        self._step_key()  # drawn for every step, whether anything moves in it or not
        for _, p, group, number in given:
            self._update(p, p.grad, self.param_groups[group], number)
        self._end_step()
        self._remember_statistics()
        replicas.check_equal((name, p) for name, p, *_ in self._parameters())
        return loss

    def _remember_statistics(self) -> None:
        if self._statistics is not None:
            self._statistics.remember()

    def update_in_backward(self, reduce: Callable[[torch.Tensor], None] | None = None) -> contextlib.ExitStack:
        """From now on every discrete weight moves inside the backward pass, as soon as its gradient is complete, and the
        gradient is dropped: p.grad is None after it, and no two layers' gradients are alive at once. `step()` updates
        the real parameters and ends the step, so the training loop stays as it is, and so do the moves, bit for bit.

        Args:
            reduce: called with every gradient before the rule, to change it in place: a sum over workers, say. Then the
                workers' DistributedDataParallel is to leave the discrete weights alone, as the one that
                `gxnor.training.distributed.replicate` makes does.

        Returns an ExitStack that undoes it on `close()`, or as a context. Raises RuntimeError where it is on already, and
        ValueError where there are several workers and no `reduce`. A weight moves once per step: a backward pass, or a
        step, that has a second gradient for it raises RuntimeError. So do checkpoints with `use_reentrant=True` around
        several uses of a layer, each of which is a backward pass of its own.

        What it costs: where a gradient is not finite, the layers after it in the forward order have moved before that
        is seen (the FloatingPointError says so). Clipping by the norm of all gradients needs them all before anything
        moves: that is the plain `step()`; and so is a torch.amp.GradScaler, whose scaled gradients would move the states
        before it divides them. Several backward passes per step need `accumulating`. Under torch.compile the
        backward pass of a graph hands out the gradients of all its layers at once, so they are alive together. State is
        to be saved between steps, not between a backward pass and `step()`.
        """
        if self._hooks is not None:
            raise RuntimeError("the update runs inside the backward pass already; close what turned it on first")
        if reduce is None and replicas.count() > 1:
            raise ValueError(
                f"expected reduce, which sums a gradient over the {replicas.count()} workers in place "
                "(torch.distributed.all_reduce), got None: the weights would move by each worker's own gradient"
            )
        hooks = contextlib.ExitStack()
        for name, p, group, number in self._parameters():
            if isinstance(p, DiscreteParameter) and p.requires_grad:
                hook = self._make_hook(name, group, number, reduce)
                hooks.callback(p.register_post_accumulate_grad_hook(hook).remove)
        hooks.callback(setattr, self, "_hooks", None)
        self._hooks = hooks
        return hooks

    @contextlib.contextmanager
    def accumulating(self) -> Iterator[None]:
        """Backward passes in this context move nothing: gradients add up, until a backward pass outside of it moves the
        weights by the sum. For all but the last of the micro-batches of a step, with `update_in_backward`; the plain
        `step()` does not need it. Cost: between micro-batches the gradients of all layers live, 4 bytes per weight."""
        before, self._accumulating = self._accumulating, True
        try:
            yield
        finally:
            self._accumulating = before

    def _parameters(self) -> Iterator[tuple[str | int, torch.Tensor, int, int]]:
        """Every parameter with its name (else its place in its group), the number of its group, and its own number, from
        1, which makes its stream of draws."""
        number = 0
        for i, group in enumerate(self.param_groups):
            names = group.get("param_names") or range(len(group["params"]))
            for name, p in zip(names, group["params"], strict=True):
                number += 1
                yield name, p, i, number

    def _make_hook(self, name: str | int, group: int, number: int, reduce) -> Callable[[torch.Tensor], None]:
        @torch.no_grad()
        def update(p: torch.Tensor) -> None:
            if self._accumulating:
                return
            self._check_moves_once(name, number)
            assert p.grad is not None  # the hook runs when it has been accumulated
            grad = gradients.own(p.grad)
            if reduce is not None:
                reduce(grad)
            wrong = gradients.find_wrong([(name, grad)])
            if wrong is not None:
                self._refuse(wrong)
            self._update(p, grad, self.param_groups[group], number, spare=True)
            p.grad = None

        return update

    def _refuse(self, wrong: str) -> NoReturn:
        """Raises FloatingPointError for a gradient that no increment can be made of."""
        consequence = "no weight was moved" if self._key is None else "other weights have moved already in this step"
        if self._statistics is not None:
            self._statistics.restore()
            consequence += ", and running statistics are those of the last zero_grad() or step()"
        self._end_step()
        raise FloatingPointError(
            f"{wrong}; {consequence}. A lower learning rate, or a look at the loss and the data, is the usual mend"
        )

    def _check_moves_once(self, name: str | int, number: int) -> None:
        if number in self._moved:
            raise RuntimeError(
                f"parameter {name} has moved in this step already and has another gradient. Expected one backward pass a "
                "step: several need accumulating(), a layer that is used several times needs checkpoint(..., "
                "use_reentrant=False), and DistributedDataParallel is to leave out what update_in_backward moves; the plain "
                "step() needs none of this. step() ends the step under way"
            )

    def _step_key(self) -> int:
        if self._key is None:
            key = int(torch.randint(-(2**63), 2**63 - 1, (), generator=self.generator))
            self._key = replicas.agree(key, self._device())
        return self._key

    def _device(self) -> torch.device:
        return self.param_groups[0]["params"][0].device

    def _end_step(self) -> None:
        self._key = None
        self._moved.clear()

    def _update(self, p: torch.Tensor, grad: torch.Tensor, group: dict, number: int, spare: bool = False) -> None:
        """Moves one parameter by its complete gradient, which may be written to where it is spare."""
        state = self.state[p]
        self._moved.add(number)
        if grad.dtype.itemsize < 4:  # a mean of squares that forgets a thousandth a step takes more than 8 bits
            grad = grad.float()
        dW = increments.RULES[group["increment"]](grad, state, group, spare)
        if not isinstance(p, DiscreteParameter):
            p.add_(dW)
            return
        bits, split = min(group["counter"], counters.most_bits(p.space)), group["split_zero"] and p.space.N == 1
        if bits and "counter" not in state:
            state["counter"] = counters.new_counters(p, bits, split)
        rule = TransitionRule(group["m"], group["probability"], bits, split, group["hysteresis"])
        moved = move(p, dW, stream.subkey(self._step_key(), number), rule, state.get("counter"))
        state["moved"] = state.get("moved", 0) + moved
        state["moves"] = state.get("moves", 0) + p.numel()

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
                for key, value in state_dict["state"].get(number, {}).items():
                    if isinstance(value, torch.Tensor):  # torch has given it the parameter's dtype
                        self.state[p][key] = value.to(p.device, copy=True)
        self.generator.set_state(generator.cpu())

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # of a state from before there were the settings
            group.setdefault("split_zero", False)
            group.setdefault("hysteresis", 0.0)

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "generator": self.generator, "_moved": set(self._moved)}


def _check_settings(group: dict) -> None:
    if not 0 <= group["lr"] < math.inf:
        raise ValueError(f"lr must be finite and not negative, got {group['lr']!r}")
    if group["increment"] not in increments.RULES:
        raise ValueError(f"increment must be one of {', '.join(increments.RULES)}, got {group['increment']!r}")
    if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
        raise ValueError(f"betas must be two numbers in [0, 1), got {group['betas']!r}")
    if not group["eps"] > 0:
        raise ValueError(f"eps must be positive, got {group['eps']!r}")
    TransitionRule(group["m"], group["probability"], group["counter"], group["split_zero"], group["hysteresis"])
