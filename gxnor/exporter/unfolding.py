"""From an integer program back to the weights and batch norm of a model: the inverse of `folding`, for plain stacks."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gxnor.errors import GxnorError
from gxnor.exporter.tensors import unit_of
from gxnor.nn.activation import Activation, steps
from gxnor.nn.parameter import DiscreteParameter
from gxnor.program import Program
from gxnor.program.ops import Conv, Dense, Flatten, Layer, MaxPool, Scale, Threshold
from gxnor.program.values import Value


@torch.no_grad()
def load_program(model: nn.Sequential, program: Program, samples: torch.Tensor) -> None:
    """Gives a model, in place, the weights and batch norm of a program.

    Weights are the program's states. Batch norm makes A x + B of a sum x:

        A = (t' - t) / (X' - X)        B = t - A X

    where t and t' are the first and the last step of the activation after it, and X and X' lie half a unit below the
    integer thresholds that stand for them. So a model with binary or ternary activations exports as this program again, but
    for the rounding of its scores; with more states, thresholds between the outer two can move by a few units, if `r` and
    `H` are those of the model that was exported, which a program does not tell. What splits A and B into mean, variance,
    scale and shift is x over the samples. A binary activation has one step: A is then 1 over the standard deviation of x.

    Args:
        model: `gxnor.nn.Pixels`, layers with discrete weights, each with a batch norm after it, and max-pooling, as
            `gxnor.nn.networks.network` makes them without residual blocks.
        program: exported from such a model.
        samples: uint8 [batch, ...], some hundreds.

    Raises GxnorError where the program is of another network; the model may have changed by then."""
    followed: list[tuple[Any, Any]] = list(zip(model, [*list(model)[1:], None], strict=True))
    of_states = "" if program.input.space is None else f" of {program.input.space.size} states"
    expected = [
        f"an input {tuple(samples.shape[1:])}",
        *(_expected(*pair) for pair in followed if isinstance(pair[0], nn.Conv1d | nn.Conv2d | nn.Linear | _BatchNorm)),
    ]
    pairs = zip(program.layers, program.values[1:], strict=True)
    given: list[tuple[Any, Value]] = [
        (layer, value) for layer, value in pairs if not isinstance(layer, MaxPool | Flatten)
    ]
    found = [f"an input {program.input.shape}{of_states}", *(_found(layer) for layer, _ in given)]
    for one, other in itertools.zip_longest(expected, found, fillvalue="nothing more"):
        if one != other:
            raise GxnorError(f"the program is of another network: expected {one}, got {other}")
    model.eval()
    x, unit, bound, takes = samples, Fraction(1), 0, iter(given)
    for module, after in followed:
        if isinstance(module, _BatchNorm):
            mean, deviation = _set_statistics(module, x)
            layer, _ = next(takes)
            mean, deviation = mean / float(unit), deviation / float(unit)
            A, B = (layer.scale, layer.bias) if after is None else _line(layer, after, bound, deviation)
            module.weight.copy_(torch.from_numpy(A * deviation))
            module.bias.copy_(torch.from_numpy(B + A * mean))
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            layer, value = next(takes)
            weight: Any = module.weight
            weight.set_indices(torch.from_numpy(layer.weight.indices()))
            unit, bound = unit * unit_of(weight.space), value.bound
            if (shape := tuple(module(x[:1]).shape[1:])) != value.shape:
                raise GxnorError(f"the program is of another network: expected sums {shape}, got {value.shape}")
        elif isinstance(module, Activation):
            unit = unit_of(module.space)
        x = module(x)


def _set_statistics(norm: Any, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Gives batch norm the mean and variance of every channel of x; returns the mean and the deviation it divides by."""
    values = x.double().transpose(0, 1).flatten(1)
    norm.running_mean.copy_(values.mean(1))
    norm.running_var.copy_(values.var(1, correction=0))
    return norm.running_mean.double().numpy(), (norm.running_var.double() + norm.eps).sqrt().numpy()


def _line(layer: Threshold, phi: Activation, bound: int, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 [channels] A and B such that phi(A x + B) makes of integers |x| <= bound what the thresholds make of them.

    A channel that has one outer state throughout gets A = 0, and B one beyond the last step."""
    places = np.clip(layer.thresholds.astype(np.float64), -bound, bound + 1) - 0.5
    first, last = places[:, 0], places[:, -1]
    if phi.N == 0:
        A = 1 / deviation
        B = -A * first
    else:
        top = steps(phi.N, phi.r, phi.H)[-1]
        A = 2 * top / np.maximum(last - first, 0.5)
        B = -A * (first + last) / 2
        constant = (first > bound) | (last < -bound)
        A[constant], B[constant] = 0, np.where(first > bound, -top - 1, top + 1)[constant]
    return A * layer.sign, B


def _expected(module: Any, after: nn.Module | None) -> str:
    """What a program has for a module, in words."""
    if isinstance(module, _BatchNorm):
        states = f"of {after.space.size} states" if isinstance(after, Activation) else "that are real"
        return f"{module.num_features} scores" if after is None else f"{module.num_features} channels {states}"
    weight = module.weight
    states = f"of {weight.space.size} states" if isinstance(weight, DiscreteParameter) else "that are real"
    return f"weights {tuple(weight.shape)} {states}"


def _found(layer: Layer) -> str:
    match layer:
        case Conv() | Dense():
            return f"weights {layer.weight.shape} of {layer.weight.space.size} states"
        case Threshold():
            return f"{len(layer.sign)} channels of {layer.space.size} states"
        case Scale():
            return f"{len(layer.scale)} scores"
    return type(layer).__name__
