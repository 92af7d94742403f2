"""Networks of the paper and of others, with random states."""

from __future__ import annotations

import numpy as np

from benchmarks.programs.building import Builder
from gxnor.program import Program


def mnist(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """32C5-MP2-64C5-MP2-512FC-10 on 1x28x28, valid padding: 581,408 weights."""
    net = Builder((1, 28, 28), seed=seed)
    for channels in (32, 64):
        net.conv(channels, 5, N1)
        net.max_pool(2)
        net.threshold(N2)
    net.flatten()
    net.dense(512, N1)
    net.threshold(N2)
    net.dense(10, N1)
    return net.program()


def cifar(N1: int = 1, N2: int = 1, width: int = 128, seed: int = 0) -> Program:
    """2x128C3-MP2-2x256C3-MP2-2x512C3-MP2-1024FC-10 on 3x32x32, same padding: 12,973,440 weights at width 128."""
    net = Builder((3, 32, 32), seed=seed)
    for channels in (width, 2 * width, 4 * width):
        net.conv(channels, 3, N1, padding=1)
        net.threshold(N2)
        net.conv(channels, 3, N1, padding=1)
        net.max_pool(2)
        net.threshold(N2)
    net.flatten()
    net.dense(8 * width, N1)
    net.threshold(N2)
    net.dense(10, N1)
    return net.program()


def residual(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Two residual blocks, the second strided with a 1x1 shortcut, and a global average pool, on 3x12x12."""
    net = Builder((3, 12, 12), seed=seed)
    net.conv(16, 3, N1, padding=1)
    start = net.threshold(N2)
    net.conv(16, 3, N1, padding=1)
    net.threshold(N2)
    net.conv(16, 3, N1, padding=1)
    net.plus(net.last, start, (1, 3))
    start = net.threshold(N2)
    net.conv(32, 3, N1, stride=2, padding=1)
    net.threshold(N2)
    body = net.conv(32, 3, N1, padding=1)
    net.plus(body, net.conv(32, 1, N1, stride=2, at=start), (1, -2))
    net.threshold(N2)
    net.sum_pool(6)
    net.flatten()
    net.dense(10, N1)
    return net.program()


def one_d(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """1-d convolutions, strided, grouped and dilated, on 2x64."""
    net = Builder((2, 64), seed=seed)
    net.conv(12, 5, N1, stride=2, padding=2)
    net.threshold(N2)
    net.conv(12, 3, N1, padding=2, dilation=2, groups=3)
    net.max_pool(3, 2, padding=1)
    net.threshold(N2)
    net.flatten()
    net.dense(4, N1)
    return net.program()


def u_net(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Scores for every place, by way of every layer that moves values."""
    net = Builder((2, 8, 6), seed=seed)
    net.conv(6, 3, N1, padding=1)
    skip = net.threshold(N2)
    net.max_pool(2)
    net.conv(8, 3, N1, padding=1)
    net.threshold(N2)
    net.upsample(2)
    net.concat(net.last, skip)
    net.channels(np.arange(14)[::-1])
    net.pad((1, 0), (0, 1))
    net.conv(8, 2, N1)
    net.requantize()
    net.threshold(N2)
    net.conv(3, 1, N1)
    return net.program()


def two_heads(N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Scores of the sample, scores for every place, and states themselves, from one trunk."""
    net = Builder((2, 6, 7), seed=seed)
    net.conv(9, 3, N1, padding=1)
    trunk = net.threshold(N2)
    places = net.conv(3, 1, N1, at=trunk)
    net.max_pool(2, at=trunk)
    net.flatten()
    return net.program(net.dense(5, N1), places, trunk)


def _block(net: Builder, outputs: int, N1: int, N2: int, stride: int = 1) -> None:
    """Two 3x3 convolutions beside a shortcut, batch norm before the addition: He et al., arXiv 1512.03385, figure 2. A
    shortcut that changes the shape is a 1x1 convolution."""
    start, inputs = net.last, net.values[-1].shape[0]
    net.conv(outputs, 3, N1, stride, padding=1)
    net.threshold(N2)
    net.conv(outputs, 3, N1, padding=1)
    body = net.requantize(1e6)
    if stride == 1 and inputs == outputs:
        net.plus(body, start, (1, 2**20))
    else:
        net.conv(outputs, 1, N1, stride, at=start)
        net.plus(body, net.requantize(1e6))
    net.threshold(N2)


def _averaged(net: Builder, classes: int, N1: int) -> Program:
    """The average of all places, and a dense layer."""
    net.sum_pool(net.values[-1].shape[1:])
    net.flatten()
    net.dense(classes, N1)
    return net.program()


def resnet(n: int = 3, width: int = 16, size: int = 32, N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """ResNet of 6 n + 2 layers, section 4.2 of the paper, on 3 x size x size; the first convolution is discrete as well."""
    net = Builder((3, size, size), seed=seed)
    net.conv(width, 3, N1, padding=1)
    net.threshold(N2)
    for stage in range(3):
        for i in range(n):
            _block(net, width << stage, N1, N2, 2 if stage and i == 0 else 1)
    return _averaged(net, 10, N1)


def resnet18(width: int = 64, size: int = 224, N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Table 1 of the paper: a stem of 7x7 and a max-pool, four stages of two blocks, 1,000 classes."""
    net = Builder((3, size, size), seed=seed)
    net.conv(width, 7, N1, 2, padding=3)
    net.threshold(N2)
    net.max_pool(3, 2, padding=1)
    for stage in range(4):
        _block(net, width << stage, N1, N2, 2 if stage else 1)
        _block(net, width << stage, N1, N2)
    return _averaged(net, 1000, N1)


def mobilenet_v1(width: int = 32, size: int = 224, N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Howard et al., arXiv 1704.04861, table 1: depthwise and pointwise convolutions, 1,000 classes. width 32 is their
    multiplier of 1."""
    net = Builder((3, size, size), seed=seed)
    net.conv(width, 3, N1, 2, padding=1)
    net.threshold(N2)
    for times, stride in ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1)):
        channels = net.values[-1].shape[0]
        net.conv(channels, 3, N1, stride, padding=1, groups=channels)
        net.threshold(N2)
        net.conv(times * width, 1, N1)
        net.threshold(N2)
    return _averaged(net, 1000, N1)


def keywords(width: int = 64, N1: int = 1, N2: int = 1, seed: int = 0) -> Program:
    """Spoken words: convolutions over 98 frames of 40 features, 12 classes."""
    net = Builder((40, 98), seed=seed)
    for times in (1, 2, 2, 4):
        net.conv(times * width, 3, N1, padding=1)
        net.max_pool(2)
        net.threshold(N2)
    return _averaged(net, 12, N1)
