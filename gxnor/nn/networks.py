"""Networks from the notation of the paper, at any precision.

    32C5-MP2-64C5-MP2-512FC-10          the paper's MNIST network
    2x128C3-MP2-2x256C3-MP2-2x512C3-MP2-1024FC-10      its CIFAR-10 and SVHN network

    16C3-3x16R3-32D3-2x32R3-64D3-2x64R3-AP-10          ResNet-20

nCk is a convolution with n channels and a k x k kernel (for series, along their one axis, a kernel of k), MPk a k x k
max-pooling (of k), nFC a dense layer with n outputs, 2x repeats what follows, and the number at the end is the output
layer, one score per class. A block is convolution, pooling, batch norm, activation, in this order; the output layer's
scores are batch-normed. nRk is a residual block of two convolutions (`gxnor.nn.residual`), nDk one of stride 2, and AP the
average of each channel, before the dense layers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from torch import nn

from gxnor.nn.blocks import Sequential
from gxnor.nn.pixels import Pixels
from gxnor.nn.precision import PRECISIONS, Precision
from gxnor.nn.residual import Residual, RoundedResidual, RoundedSum

MNIST = "32C5-MP2-64C5-MP2-512FC-10"
BLOCKS = "R", "D"  # the kinds of residual blocks
MOST_WEIGHTS = 2**31 - 1  # of one layer: what native kernels and program files count to
CIFAR10 = "2x128C3-MP2-2x256C3-MP2-2x512C3-MP2-1024FC-10"
RESNET20 = "16C3-3x16R3-32D3-2x32R3-64D3-2x64R3-AP-10"


def parse(notation: str) -> list[tuple[str, int, int]]:
    """[("C" | "R" | "D", channels, kernel) | ("MP", 0, size) | ("AP", 0, 0) | ("FC", outputs, 0), ...]; the last is the
    output layer.

    Raises ValueError naming the part that is not in the notation."""
    layers: list[tuple[str, int, int]] = []
    parts = notation.split("-")
    for i, part in enumerate(parts):
        match = re.fullmatch(r"(?:(\d+)x)?(?:(\d+)([CRD])(\d+)|(\d+)(FC))|(MP)(\d+)|(AP)|(\d+)", part)
        last = i == len(parts) - 1
        if (
            not match
            or (match[10] is not None) != last
            or any(g and g.isdigit() and int(g) == 0 for g in match.groups())
        ):
            raise ValueError(f"cannot read {part!r} in the network {notation!r}; expected for example {MNIST!r}")
        kind = match[3] or match[6] or match[7] or match[9] or "FC"
        outputs, size = int(match[2] or match[5] or match[10] or 0), int(match[4] or match[8] or 0)
        if kind in BLOCKS and size % 2 == 0:
            raise ValueError(f"the kernel of a residual block is odd, not so in {part!r} of the network {notation!r}")
        layers += [(kind, outputs, size)] * int(match[1] or 1)
    kinds = [kind for kind, *_ in layers]
    if set(kinds[kinds.index("FC") :]) != {"FC"}:
        raise ValueError(f"dense layers come last, not so in the network {notation!r}")
    if any(after == "MP" and kind != "C" for kind, after in pairwise(["", *kinds])):
        raise ValueError(f"pooling follows a convolution, not so in the network {notation!r}")
    if "AP" in kinds and (kinds[0] == "AP" or kinds[kinds.index("AP") + 1] != "FC"):
        raise ValueError(
            f"the average AP stands between convolutions and dense layers, not so in the network {notation!r}"
        )
    return layers


def network(
    notation: str,
    input_shape: tuple[int, ...],
    precision: Precision = PRECISIONS["gxnor"],
    padding: str = "valid",
    width: float = 1.0,
) -> nn.Sequential:
    """Builds a network from its notation.

    Args:
        notation: see the module's text.
        input_shape: (channels, height, width) of the uint8 images it takes, or (channels, length) of series.
        precision: spaces of weights and activations.
        padding: "valid" or "same", of the convolutions.
        width: factor for the number of channels and outputs of every layer but the last.

    Returns a Sequential of named layers that maps uint8 [batch, *input_shape] to float scores [batch, classes]. Raises
    ValueError for a notation that cannot be read, for images that are too small for it and for impossible settings.
    """
    if padding not in ("valid", "same"):
        raise ValueError(f"padding must be valid or same, got {padding!r}")
    if not 0 < width < math.inf:
        raise ValueError(f"width must be a positive number, got {width!r}")
    layers = parse(notation)
    if precision.shortcuts and not any(kind in BLOCKS for kind, *_ in layers):
        raise ValueError(f"shortcuts = {precision.shortcuts}, but {notation!r} has no residual block; expected 0")
    channels, *size = input_shape
    pool: type[nn.MaxPool1d | nn.MaxPool2d]
    average: type[nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d]
    norm: type[nn.BatchNorm1d | nn.BatchNorm2d]
    if len(size) == 1:
        convolution, pool, average, norm = precision.conv1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d, nn.BatchNorm1d
    else:
        convolution, pool, average, norm = precision.conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.BatchNorm2d
    modules: dict[str, nn.Module] = {"pixels": Pixels()}
    features = number = 0
    for i, (kind, outputs, kernel) in enumerate(layers):
        last = i == len(layers) - 1
        if kind == "AP":
            modules["average"], size = average(1), [1] * len(size)
        if kind in ("MP", "AP"):
            continue
        number += 1
        outputs = outputs if last else max(1, round(outputs * width))
        taps = kernel ** len(size)
        weights = outputs * {
            "C": channels * taps, "R": max(channels, outputs) * taps, "D": max(channels, outputs) * taps,
            "FC": features or channels * math.prod(size),
        }[kind]  # fmt: skip
        if weights > MOST_WEIGHTS:
            raise ValueError(f"width = {width:g} makes a layer of more than {MOST_WEIGHTS:,} weights")
        if kind == "FC":
            if not features:
                modules["flatten"] = nn.Flatten()
                features = channels * math.prod(size)
            modules[f"fc{number}"] = precision.linear(features, outputs)
            modules[f"norm{number}"] = nn.BatchNorm1d(outputs)
            features = outputs
        elif kind == "C":
            modules[f"conv{number}"] = convolution(channels, outputs, kernel, padding)
            size = [s - kernel + 1 if padding == "valid" else s for s in size]
            if layers[i + 1][0] == "MP":
                modules[f"pool{number}"] = pool(layers[i + 1][2])
                size = [s // layers[i + 1][2] for s in size]
            modules[f"norm{number}"] = norm(outputs)
        else:
            stride = 2 if kind == "D" else 1
            block = partial(RoundedResidual, N=precision.shortcuts) if precision.shortcuts else Residual
            modules[f"block{number}"] = block(
                channels, outputs, kernel, stride, convolution, norm, precision.activation
            )
            size = [-(-s // stride) for s in size]
        if kind != "FC":
            channels = outputs
            if min(size) < 1:
                given = " x ".join(map(str, input_shape[1:]))
                raise ValueError(f"images of {given} are too small for {notation!r}")
        following = next((later for later, *_ in layers[i + 1 :] if later != "MP"), "")
        modules |= {f"{name}{number}": module for name, module in _states_after(kind, following, precision)}
    net = Sequential()
    for name, module in modules.items():
        net.add_module(name, module)
    return net


def _states_after(kind: str, following: str, precision: Precision) -> Iterator[tuple[str, nn.Module]]:
    """What makes states of a layer's sums where the next layer, "" after the last one, does not do so itself."""
    if precision.shortcuts and following in BLOCKS:
        if kind not in BLOCKS:
            yield "sum", RoundedSum(precision.shortcuts)
    elif following and (precision.shortcuts or kind not in BLOCKS):
        yield "act", precision.activation()
