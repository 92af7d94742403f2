"""What layers add to the program: weights, batch norm, activations, and what is nothing to do there."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import torch
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter import folding, ties
from gxnor.exporter.builder import EXACT, Builder
from gxnor.exporter.tensors import Tensor, known, tensor, unit_of
from gxnor.nn.activation import Activation
from gxnor.nn.codes import one_code
from gxnor.nn.layers import DiscreteLayer
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.pixels import Pixels
from gxnor.nn.quantize import Quantize
from gxnor.program import Input
from gxnor.program.ops import NEVER, Conv, Dense, Pad, Threshold
from gxnor.program.values import StateTensor
from gxnor.space import DiscreteSpace

WORD = 2**15 - 1  # real numbers that a weighted layer reads


def same(build: Builder, x, *_, **__) -> Tensor:
    return x


def pixels(build: Builder, x, module: Pixels) -> Tensor:
    if not tensor(x).pixels:
        raise GxnorError("expected the network's uint8 input")
    return replace(x, pixels=False)


def as_float(build: Builder, x, *to, **_) -> Tensor:
    """Pixels as numbers 0 to 255, and other values as they are: half of 2p - 255, and 127.5."""
    if any(isinstance(kind, torch.dtype) and kind != torch.float32 for kind in to):
        raise GxnorError(f"expected float32, got {to}")
    if not tensor(x).pixels:
        return x
    half = torch.full((x.shape[0],), 127.5)
    return replace(x, pixels=False, unit=Fraction(1, 2), norms=(folding.Arithmetic(torch.add, half),))


def quantize(build: Builder, x, module: Quantize) -> Tensor:
    if not tensor(x).pixels or build.layers:
        raise GxnorError("expected the network's real input")
    build.source = Input(x.shape, module.space, module.low.numpy(), module.scale.numpy())
    build.values[0] = build.source.value()
    return replace(x, pixels=False)


def weighted(build: Builder, x, module: DiscreteLayer) -> Tensor:
    weight = _states(module)
    pads: tuple[int, ...] = ()
    if not isinstance(module, nn.Linear):
        if module.padding_mode != "zeros":
            raise GxnorError(f"expected padding_mode='zeros', got {module.padding_mode!r}")
        padding, pads = module.zeros_around()
    terms = weight.size // weight.shape[0] * weight.space.denominator
    bound = build.values[known(x).number].bound
    if (
        x.norms or terms * bound >= NEVER or (x.rounding and bound > WORD)
    ):  # real numbers: integers of 16 bits, if they do
        most = (NEVER - 1) // terms
        x = build.requantize(x, build.fixed_unit(x, min(WORD, most), min(EXACT, most)))
    if any(pads):
        x = build.emit(Pad((x.number,), (0,) * len(pads), pads), x.unit, x)
    if isinstance(module, nn.Linear):
        layer: Conv | Dense = Dense((x.number,), weight)
    else:
        layer = Conv((x.number,), weight, module.stride, padding, module.dilation, module.groups)
    y = build.emit(layer, x.unit * unit_of(module.space), x)
    return y if module.bias is None else replace(y, norms=(folding.Norm.adding(module.bias),))


def _states(module: DiscreteLayer) -> StateTensor:
    """The layer's weight. Layers and programs pack states alike."""
    space, weight = DiscreteSpace(module.space.N), module.weight
    if isinstance(weight, DiscreteParameter):
        return StateTensor(space, tuple(weight.shape), one_code(weight.packed, space).numpy().copy())
    return StateTensor.from_indices(space, module.states().numpy())


def norm(build: Builder, x, module) -> Tensor:
    if module.running_mean is None:
        raise GxnorError("batch norm without running statistics depends on the batch")
    x = build.settled(known(x))
    return replace(x, norms=(*x.norms, folding.Norm.of(module)))


def activation(build: Builder, x, module: Activation) -> Tensor:
    if known(x).shape != build.values[x.number].shape and not x.later:
        raise GxnorError(f"expected an activation before axes of {x.shape} are taken away")
    value = build.values[x.number]
    steps, sign = folding.thresholds(x.norms, module, module.space, x.unit, value.shape, value.bound)
    steps = ties.settle(build, x, steps, module, module.space)
    return build.settle(build.emit(Threshold((x.number,), module.space, steps, sign), unit_of(module.space)), x.later)


def dropout(build: Builder, x, p=0.5, training=True, inplace=False) -> Tensor:
    if training and p:
        raise GxnorError("drops values in evaluation too: expected training=self.training")
    return tensor(x)


def left_out(name: str, function):
    """An activation that only the end of a model may have: the program's scores are those before it."""

    def operation(build: Builder, x, *_, **__) -> Tensor:
        if not build.ends:
            raise GxnorError(f"{name} is a real activation, which only the end may have: take gxnor.nn.Activation()")
        return replace(known(x), last=(name, function))

    return operation
