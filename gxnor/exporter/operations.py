"""What each module and function of a model adds to the program.

An operation takes the builder, the tensors that go in, and the module, or the function's arguments. It first checks
what is asked for, so that everything wrong is named even where the input is unknown.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from gxnor.exporter.arithmetic import add, concat, divide, expanded, multiply, negative, subtract
from gxnor.exporter.builder import Builder
from gxnor.exporter.layers import activation, as_float, dropout, left_out, norm, pixels, quantize, same, weighted
from gxnor.exporter.pooling import (
    adaptive_average,
    adaptive_max,
    average_pool,
    largest,
    largest_of,
    max_pool,
    mean,
    total,
)
from gxnor.exporter.shapes import attribute, flatten, pad, reshape, size, squeeze, transpose, upsample
from gxnor.exporter.slicing import chunk, item, shuffle, split
from gxnor.nn.activation import Activation, phi
from gxnor.nn.layers import DiscreteLayer
from gxnor.nn.pixels import Pixels
from gxnor.nn.quantize import Quantize


def _functional(operation, module: type, *names: str):
    """A function with arguments `names` after the tensor, as the module that does the same."""

    @functools.wraps(operation)
    def function(build: Builder, x, *args, **kwargs):
        return operation(build, x, module(**dict(zip(names, args)), **kwargs))  # noqa: B905

    return function


SOFTMAX, LOG_SOFTMAX = (
    left_out("Softmax", lambda y: F.softmax(y, 1)),
    left_out("LogSoftmax", lambda y: F.log_softmax(y, 1)),
)
SIGMOID, RELU = left_out("Sigmoid", torch.sigmoid), left_out("ReLU", torch.relu)
TANH = left_out("Tanh", torch.tanh)
MODULES = {
    DiscreteLayer: weighted,
    Activation: activation,
    Pixels: pixels,
    Quantize: quantize,
    nn.modules.batchnorm._BatchNorm: norm,
    (nn.MaxPool1d, nn.MaxPool2d): max_pool,
    (nn.AvgPool1d, nn.AvgPool2d): average_pool,
    (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d): adaptive_average,
    (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d): adaptive_max,
    (nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d): pad,
    nn.Upsample: upsample,
    nn.ChannelShuffle: shuffle,
    (nn.Softmax, nn.Softmax2d): SOFTMAX,
    nn.LogSoftmax: LOG_SOFTMAX,
    nn.Sigmoid: SIGMOID,
    nn.ReLU: RELU,
    nn.Tanh: TANH,
    nn.Flatten: flatten,
    (nn.Identity, nn.modules.dropout._DropoutNd): same,
}
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
FUNCTIONS: dict[Callable, Callable] = {
    phi: _functional(activation, Activation, "N", "r", "a", "H", "window"),
    F.max_pool1d: _functional(max_pool, nn.MaxPool1d, *_MAX),
    F.max_pool2d: _functional(max_pool, nn.MaxPool2d, *_MAX),
    torch.max_pool1d: _functional(max_pool, nn.MaxPool1d, *_MAX),
    torch.max_pool2d: _functional(max_pool, nn.MaxPool2d, *_MAX),
    F.avg_pool1d: _functional(average_pool, nn.AvgPool1d, *_AVERAGE),
    F.avg_pool2d: _functional(average_pool, nn.AvgPool2d, *_AVERAGE),
    F.adaptive_avg_pool1d: _functional(adaptive_average, nn.AdaptiveAvgPool1d, "output_size"),
    F.adaptive_avg_pool2d: _functional(adaptive_average, nn.AdaptiveAvgPool2d, "output_size"),
    F.adaptive_max_pool1d: _functional(adaptive_max, nn.AdaptiveMaxPool1d, "output_size"),
    F.adaptive_max_pool2d: _functional(adaptive_max, nn.AdaptiveMaxPool2d, "output_size"),
    F.pad: pad,
    F.interpolate: upsample,
    torch.mean: mean,
    torch.sum: total,
    torch.amax: largest,
    torch.max: largest_of,
    torch.squeeze: squeeze,
    torch.cat: concat,
    torch.concat: concat,
    torch.chunk: chunk,
    torch.split: split,
    torch.channel_shuffle: shuffle,
    operator.getitem: item,
    operator.sub: subtract,
    torch.sub: subtract,
    operator.neg: negative,
    torch.neg: negative,
    F.softmax: SOFTMAX,
    torch.softmax: SOFTMAX,
    F.log_softmax: LOG_SOFTMAX,
    torch.log_softmax: LOG_SOFTMAX,
    torch.sigmoid: SIGMOID,
    torch.tanh: TANH,
    F.tanh: TANH,
    F.sigmoid: SIGMOID,
    F.relu: RELU,
    torch.relu: RELU,
    torch.flatten: flatten,
    torch.reshape: reshape,
    torch.transpose: transpose,
    operator.add: add,
    torch.add: add,
    operator.mul: multiply,
    operator.truediv: divide,
    F.dropout: dropout,
    F.dropout1d: dropout,
    F.dropout2d: dropout,
    torch.dropout: dropout,
    getattr: attribute,
}
METHODS = {
    "mean": mean,
    "sum": total,
    "amax": largest,
    "max": largest_of,
    "squeeze": squeeze,
    "chunk": chunk,
    "split": split,
    "sub": subtract,
    "sub_": subtract,
    "neg": negative,
    "neg_": negative,
    "softmax": SOFTMAX,
    "log_softmax": LOG_SOFTMAX,
    "relu": RELU,
    "sigmoid": SIGMOID,
    "tanh": TANH,
    "flatten": flatten,
    "view": reshape,
    "reshape": reshape,
    "transpose": transpose,
    "float": as_float,
    "to": as_float,
    "add": add,
    "add_": add,
    "mul": multiply,
    "mul_": multiply,
    "div": divide,
    "div_": divide,
    "contiguous": same,
    "expand_as": expanded,
    "size": size,
    "dim": lambda build, x: len(size(build, x)),
}

REAL = "gxnor.nn.Activation(), or nn.Hardtanh() before gxnor.nn.discretize"
PRODUCT = "sums and layers with discrete weights, for a product of two values has no form here"
# What to take for what has no form in a program.
INSTEAD = {
    **dict.fromkeys(("clamp", "clip", "hardtanh", "sign", "relu6", "gelu", "silu", "leaky_relu", "elu", "round"), REAL),
    **dict.fromkeys(("matmul", "bmm", "mm", "einsum", "scaled_dot_product_attention", "prod"), PRODUCT),
    **dict.fromkeys(("maximum", "minimum"), "a sum of both, or torch.cat"),
    **dict.fromkeys(("min", "amin"), "the largest of the negative, (-x).amax((2, 3))"),
    **dict.fromkeys(("permute", "movedim", "swapaxes"), "(batch, channels, height, width) throughout"),
    **dict.fromkeys(("stack", "hstack", "vstack"), "torch.cat along channels, dim=1"),
    **dict.fromkeys(("Unflatten", "unflatten"), "samples that have this shape when they come in"),
    **dict.fromkeys(("PixelShuffle", "pixel_shuffle", "Fold"), "nn.Upsample(scale_factor=2) and a convolution"),
    **dict.fromkeys(("linear", "conv1d", "conv2d"), "the module, whose weights gxnor.nn.discretize makes discrete"),
    **dict.fromkeys(("batch_norm", "layer_norm", "LayerNorm", "GroupNorm", "InstanceNorm2d"), "nn.BatchNorm2d"),
    **dict.fromkeys(("unsqueeze", "expand", "repeat"), "keepdim=True where an axis goes, nn.Upsample for copies"),
    **dict.fromkeys(
        ("norm", "normalize", "std", "var", "exp", "log", "sqrt", "pow", "abs"), "batch norm and activations"
    ),
}


def instead(name: str) -> str:
    """What to take for an operation that has no form in a program."""
    return f": take {INSTEAD[name]}" if name in INSTEAD else ": docs/own-model.md lists those that are"
