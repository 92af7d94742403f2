"""Every export is compared with the model: what it really computes, hooks, aliases and all, beside what was traced.

The model runs on samples, and at every discrete layer, activation and at its scores the program's integers say what it
must have: exactly where PyTorch's float32 arithmetic is exact, else within what its rounding allows (`Builder.emit`).
Where rounding can move a state, the model goes on with the program's states, so one tie says nothing about what follows.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from gxnor.errors import GxnorError
from gxnor.exporter.builder import Builder
from gxnor.exporter.folding import as_float
from gxnor.exporter.tensors import Tensor
from gxnor.nn.activation import Activation, phi
from gxnor.nn.layers import DiscreteLayer
from gxnor.program import Input, Program, reference
from gxnor.program.ops import Flatten, MaxPool, Scale

ADVICE = (
    "cannot export: the program that was traced computes something else than the model, first seen at {}; expected a model "
    "without hooks, without views of a tensor that is then changed in place, and whose forward depends on the input alone"
)


def inputs(given: Input) -> np.ndarray:
    """Samples to compare on, uint8 or real: noise, faint noise, a ramp and a constant."""
    random, top = np.random.default_rng(0), given.space.size if given.space else 256
    shape = given.shape
    faint = random.integers(top // 2, top // 2 + max(top // 8, 1), size=shape)
    ramp = np.linspace(0, top - 1, int(np.prod(shape))).reshape(shape)
    noise = random.integers(top, size=(2, *shape))
    indices = np.stack([*noise, faint, ramp, np.zeros(shape)]).astype(np.uint8)
    if given.low is None or given.scale is None:
        return indices
    each = (-1, *(1,) * (len(shape) - 1))
    between = indices * 1.1 - 0.05 * top + random.uniform(-0.6, 0.6, indices.shape)  # and beyond both ends
    return (between / given.scale.reshape(each) + given.low.reshape(each)).astype(np.float32)


@torch.no_grad()
def compare(model: nn.Module, program: Program, build: Builder, samples: np.ndarray) -> None:
    """Raises GxnorError where the model computes something else than the program on samples."""
    space = program.input.space
    watch = _Watch(model, build, reference.trace(program, samples))
    with watch:
        scores = model(
            torch.from_numpy(samples if space is None or samples.dtype.kind == "f" else space.value(samples))
        )
    if watch.left:
        raise GxnorError(ADVICE.format(f"{watch.left[0].place}, which the model does not call"))
    returned = outputs_of(scores)
    if [*returned] != [*build.outputs]:
        raise GxnorError(ADVICE.format("its outputs"))
    for output, (name, got) in zip(program.outputs, returned.items(), strict=True):
        layer, logits, value = program.layers[output.number - 1], build.outputs[name], program.values[output.number]
        assert isinstance(layer, Scale)  # every output is of one
        room = 1e-5 * (np.abs(layer.scale) * value.bound + np.abs(layer.bias))
        room = room + np.abs(layer.scale) * (logits.rounding * value.bound)
        expected, room = watch.values[output.number], room.reshape(-1, *(1,) * (len(value.shape) - 1))
        if logits.last:  # softmax, sigmoid: no output moves by more than twice the largest move of a score
            expected, room = logits.last[1](torch.from_numpy(expected)).numpy(), 2 * room.max() + 1e-6
        if got.shape != expected.shape or not (np.abs(got.numpy() - expected) <= room).all():  # NaN is refused too
            raise GxnorError(ADVICE.format(f"its scores{f' {name!r}' if len(build.outputs) > 1 else ''}"))


def outputs_of(returned) -> dict:
    """What a model returns, by name: a dict's own, fields, or places of a tuple. None among them, as for a loss that was not
    asked for, is not an output. Raises GxnorError for what is none of these, and for one in another."""
    if isinstance(returned, dict):
        every = {str(name): x for name, x in returned.items()}
    elif dataclasses.is_dataclass(returned) and not isinstance(returned, Tensor):
        every = {field.name: getattr(returned, field.name) for field in dataclasses.fields(returned)}
    elif isinstance(returned, tuple | list):
        every = dict(zip(getattr(returned, "_fields", map(str, range(len(returned)))), returned, strict=True))
    else:
        every = {"logits": returned}
    found = {name: x for name, x in every.items() if x is not None}
    if not found or any(isinstance(x, dict | tuple | list) for x in found.values()):
        raise GxnorError("expected a model that returns scores, or a dict or tuple of scores")
    return found


class _Watch(TorchFunctionMode):
    """While it is open, every discrete layer, activation and `phi` of the model is held against the program's values."""

    def __init__(self, model: nn.Module, build: Builder, values: Sequence[np.ndarray]):
        super().__init__()
        self.values, self.build = values, build
        self.left = [call for call in build.calls if _is_watched(call.module)]
        self.modules = [module for module in model.modules() if _is_watched(module)]
        self.hooks = contextlib.ExitStack()

    def __enter__(self):
        for module in self.modules:
            hook = module.register_forward_hook(lambda module, given, y: self.check(module, module.forward, y))
            self.hooks.callback(hook.remove)
        return super().__enter__()

    def __exit__(self, *exception):
        self.hooks.close()
        return super().__exit__(*exception)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        y = func(*args, **(kwargs or {}))
        return y if func is not phi else self.check(None, lambda x: phi(x, *args[1:], **kwargs), y)

    def check(self, module: nn.Module | None, activation, y: torch.Tensor) -> torch.Tensor:
        """y, or the program's states in its place."""
        call = self.left.pop(0) if self.left else None
        if call is None or call.module is not module:
            raise GxnorError(ADVICE.format(call.place if call else "a module that was not traced"))
        if call.given is None or call.made is None:
            return y
        real = isinstance(module, DiscreteLayer)
        ends = [end if real else activation(end) for end in self.between(call.made if real else call.given)]
        low, high = torch.minimum(*ends), torch.maximum(*ends)
        if y.shape != low.shape or not ((low <= y) & (y <= high)).all():
            raise GxnorError(ADVICE.format(call.place))
        return y if real else as_float(self.integers(call.made), call.made.unit)

    def integers(self, x: Tensor) -> torch.Tensor:
        return torch.from_numpy(self.values[x.number]).long()

    def between(self, x: Tensor) -> Iterator[torch.Tensor]:
        """The least and the largest float32 values that the model can have for x, or the other way round."""
        room = x.rounding * self.build.values[x.number].bound
        for offset in (-room, room):
            y = as_float(self.integers(x).double() + offset, x.unit)
            for step in x.norms:
                y = step(y)
            for layer in x.later:
                y = _later(layer, y)
            yield y


def _is_watched(module: nn.Module | None) -> bool:
    return module is None or isinstance(module, DiscreteLayer | Activation)


def _later(layer: MaxPool | Flatten, y: torch.Tensor) -> torch.Tensor:
    if isinstance(layer, Flatten):
        return y.flatten(1)
    pool = F.max_pool2d if len(layer.kernel) == 2 else F.max_pool1d
    return pool(y, layer.kernel, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
