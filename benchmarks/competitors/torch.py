"""PyTorch float32, channels-last, eager and compiled: the full-precision network of a program's shape.

A threshold becomes a ReLU in place, with batch norm folded into the layer before: cheaper than the steps themselves, and
what a float network of this shape would have.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.competitors import inputs, weights
from gxnor.program import Program
from gxnor.program.ops import (
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    Pad,
    Requantize,
    Scale,
    SumPool,
    Threshold,
    Upsample,
)  # fmt: skip


def build(program: Program, x: np.ndarray, threads: int) -> dict[str, tuple[Callable[[], torch.Tensor], dict]]:
    torch.set_num_threads(threads)
    order = torch.channels_last if x.ndim == 4 else torch.contiguous_format
    readers = Counter(i for layer in program.layers for i in layer.inputs)
    readers.update(i for i, layer in enumerate(program.layers, 1) if isinstance(layer, Requantize))  # it is its input
    steps = [(layer.inputs, _step(layer, order, readers, len(program.values[-1].shape))) for layer in program.layers]
    batch = torch.from_numpy(inputs(program, x)).contiguous(memory_format=order)

    def network(x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for read, step in steps:
            values.append(step(*(values[i] for i in read)))
        return values[-1]

    def contestant(network: Callable, form: str):
        @torch.inference_mode()
        def run() -> torch.Tensor:
            return network(batch)

        return run, {"torch": torch.__version__, "form": f"float32, {form}, channels-last", "threads": threads}

    contestants = {"torch": contestant(network, "eager")}
    if shutil.which(os.environ.get("CXX", "g++")):  # what torch.compile calls on a CPU
        contestants["torch-compiled"] = contestant(torch.compile(network), "compiled")
    return contestants


def _step(layer: Layer, order: torch.memory_format, readers: Counter, places: int) -> Callable[..., torch.Tensor]:
    """`places`: the axes of a sample's logits."""
    match layer:
        case Conv() | Dense():
            weight = torch.from_numpy(weights(layer))
            bias = torch.zeros(len(weight))
            if isinstance(layer, Dense):
                return lambda x: F.linear(x, weight, bias)
            conv = F.conv2d if weight.ndim == 4 else F.conv1d
            weight = weight.contiguous(memory_format=order)
            return lambda x: conv(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        case Threshold():
            return torch.relu_ if layer.inputs[0] and readers[layer.inputs[0]] == 1 else torch.relu
        case MaxPool():
            pool = F.max_pool2d if len(layer.kernel) == 2 else F.max_pool1d
            return lambda x: pool(x, layer.kernel, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
        case SumPool():
            pool = F.avg_pool2d if len(layer.kernel) == 2 else F.avg_pool1d
            return lambda x: pool(x, layer.kernel, layer.stride, layer.padding)
        case Add():
            return torch.add
        case Flatten():
            return lambda x: torch.flatten(x, 1)
        case Requantize():  # batch norm, which float networks have folded into the convolution before it
            return lambda x: x
        case Concat():
            return lambda *x: torch.cat(x, 1)
        case Pad():
            pads = [n for pair in zip(reversed(layer.before), reversed(layer.after), strict=True) for n in pair]
            return lambda x: F.pad(x, pads)
        case Upsample():
            return lambda x: F.interpolate(x, scale_factor=layer.factors)
        case Channels():
            chosen = torch.from_numpy(layer.order)
            return lambda x: x.index_select(1, chosen)
        case Scale():
            each = (-1, *(1,) * (places - 1))
            scale, bias = (torch.from_numpy(array).view(each) for array in (layer.scale, layer.bias))
            return lambda x: torch.addcmul(bias, x, scale)
