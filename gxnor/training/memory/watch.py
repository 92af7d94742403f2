"""What the layers of a forward pass save for backward, take and give, in bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.residual import Residual, RoundedResidual

PROBES = 8, 16  # images; multiples of 8, for bits fill bytes then


@dataclass
class Layer:
    """Bytes of one layer: what it holds through a step, and, for a batch, what passes through it."""

    name: str
    weights: int = 0
    optimizer: int = 0
    gradients: int = 0  # left when backward has ended
    work: int = 0  # of its backward, beside activations and slices of them
    slices: list[float] = field(default_factory=list)  # bytes per image, of input, output and the input's gradient
    saved: list[float] = field(default_factory=lambda: [0, 0])  # for the probes' batches
    passing: list[float] = field(default_factory=lambda: [0, 0])  # input and output that are saved by nobody yet
    flowing: list[float] = field(default_factory=lambda: [0, 0])  # gradients of output and input

    def at(self, batch: int, what: str) -> float:
        """`saved`, `passing` or `flowing` at a batch."""
        low, high = getattr(self, what)
        return low + (high - low) * (batch - PROBES[0]) / (PROBES[1] - PROBES[0])


class Watch:
    """While open, writes down what every layer of a forward pass saves, takes and gives. Inside a residual block, the input
    of the block is held beside, and so is its gradient on the way back."""

    def __init__(self, model: nn.Module, modules: dict[str, nn.Module], layers: dict[str, Layer], number: int):
        self.modules, self.layers, self.number = modules, layers, number
        parameters = [p for module in modules.values() for p in module.parameters()]
        self.known = {p.untyped_storage().data_ptr() for p in parameters if not isinstance(p, DiscreteParameter)}
        self.images: dict[str, list[float]] = {}  # by layer, as `Layer.slices`
        self.outputs: dict[str, torch.Size] = {}  # by layer
        self.alive: list[torch.Tensor] = []  # so that no address is met twice
        self.beside: list[torch.Tensor] = []  # inputs of the residual blocks under way
        self.name = next(iter(layers))
        self.hooks = [torch.autograd.graph.saved_tensors_hooks(self._save, lambda t: t)]
        self.handles = []
        for block in (module for module in model.modules() if isinstance(module, Residual)):
            self.handles.append(block.register_forward_pre_hook(lambda m, args: self.beside.append(args[0])))
            self.handles.append(block.register_forward_hook(lambda *_: self._leave_block()))  # before `_leave`
        for name, module in modules.items():
            self.handles.append(module.register_forward_pre_hook(lambda m, args, name=name: self._enter(name)))
            self.handles.append(
                module.register_forward_hook(lambda m, args, output, name=name: self._leave(name, args[0], output))
            )

    def __enter__(self):
        self.hooks[0].__enter__()
        return self

    def __exit__(self, *exception):
        self.hooks[0].__exit__(*exception)
        for handle in self.handles:
            handle.remove()

    def _enter(self, name: str) -> None:
        self.name = name

    def _save(self, t: torch.Tensor) -> torch.Tensor:
        if self._is_new(t):
            self.known.add(t.untyped_storage().data_ptr())
            self.alive.append(t)
            self.layers[self.name].saved[self.number] += t.untyped_storage().nbytes()
        return t

    def _leave(self, name: str, x: torch.Tensor, y: torch.Tensor) -> None:
        layer = self.layers[name]
        view = x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
        own, beside = [x] if view else [x, y], [t for t in self.beside if t is not x]
        if isinstance(self.modules[name], Residual):
            own.append(y)  # what one way puts out, until the other has
        # The states of x, in a byte each, that the block's convolutions read.
        states = x.numel() if isinstance(self.modules[name], RoundedResidual) else 0
        layer.passing[self.number] = states + sum(size_of(t) for t in own + beside if self._is_new(t))
        layer.flowing[self.number] = states + sum(size_of(t) for t in own + self.beside if t.requires_grad)
        self.outputs[name] = y.shape
        self.images[name] = [size_of(t) / len(x) for t in (x, y, *([x] if x.requires_grad else []))]
        self.alive += [x, y]

    def _leave_block(self) -> None:
        self.beside.pop()

    def _is_new(self, t: torch.Tensor) -> bool:
        return type(t) is torch.Tensor and t.untyped_storage().data_ptr() not in self.known


def size_of(t: torch.Tensor) -> int:
    return t.numel() * t.element_size()
