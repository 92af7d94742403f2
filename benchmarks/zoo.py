"""Small networks of today as users write them, in torch's own layers; `gnn.discretize` makes them discrete."""

import torch
import torch.nn.functional as F
from torch import nn

import gxnor.nn as gnn


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return self.relu2(out)


class ResNet(nn.Module):
    """He et al., arXiv 1512.03385, section 4.2: 6 n + 2 layers."""

    def __init__(self, n=1, width=8):
        super().__init__()
        self.stem = nn.Sequential(gnn.Pixels(), nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        blocks, inputs = [], width
        for stage in range(3):
            for i in range(n):
                outputs = width << stage
                blocks.append(BasicBlock(inputs, outputs, 2 if stage and i == 0 else 1))
                inputs = outputs
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Sequential(nn.Linear(inputs, 10), nn.BatchNorm1d(10))

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


class ResNet18(nn.Module):
    """The same paper, table 1: a stem of 7x7 and a max-pool, four stages of two blocks."""

    def __init__(self, width=4):
        super().__init__()
        self.pixels, self.conv1 = gnn.Pixels(), nn.Conv2d(1, width, 7, 2, 3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = self.stage(width, width, 1), self.stage(width, 2 * width, 2)
        self.layer3, self.layer4 = self.stage(2 * width, 4 * width, 2), self.stage(4 * width, 8 * width, 2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(8 * width, 10)

    @staticmethod
    def stage(inputs, outputs, stride):
        return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs))

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.pixels(x)))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def mobilenet_v1(width=8):
    """Howard et al., arXiv 1704.04861: depthwise and pointwise convolutions."""

    def separable(inputs, outputs, stride):
        return [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs), nn.ReLU6(),
            nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6(),
        ]  # fmt: skip

    return nn.Sequential(
        gnn.Pixels(), nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), *separable(width, 2 * width, 1),
        *separable(2 * width, 4 * width, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10),
        nn.BatchNorm1d(10),
    )  # fmt: skip


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        hidden = inputs * expand
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


def mobilenet_v2(width=8):
    """Sandler et al., arXiv 1801.04381: linear bottlenecks, whose outputs are real."""
    return nn.Sequential(
        gnn.Pixels(), nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU6(),
        InvertedResidual(width, width, 1, 2), InvertedResidual(width, 2 * width, 2, 2),
        InvertedResidual(2 * width, 2 * width, 1, 2), nn.Conv2d(2 * width, 4 * width, 1), nn.BatchNorm2d(4 * width),
        nn.ReLU6(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(4 * width, 10), nn.BatchNorm1d(10),
    )  # fmt: skip


class DenseNet(nn.Module):
    """Huang et al., arXiv 1608.06993: every layer reads all before it, batch norm and activation first."""

    def __init__(self, growth=8, layers=3):
        super().__init__()
        self.stem = nn.Sequential(gnn.Pixels(), nn.Conv2d(1, growth, 3, padding=1))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(growth * i), nn.ReLU(), nn.Conv2d(growth * i, growth, 3, padding=1))
            for i in range(1, layers + 1)
        )
        features = growth * (layers + 1)
        self.end = nn.Sequential(nn.BatchNorm2d(features), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
        self.fc, self.norm = nn.Linear(features * 16, 10), nn.BatchNorm1d(10)

    def forward(self, x):
        parts = [self.stem(x)]
        for layer in self.layers:
            parts.append(layer(torch.cat(parts, 1)))
        return F.log_softmax(self.norm(self.fc(self.end(torch.cat(parts, dim=1)))), dim=1)


class UNet(nn.Module):
    """Ronneberger et al., arXiv 1505.04597: scores for every place."""

    def __init__(self, width=8):
        super().__init__()

        def block(inputs, outputs):
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

        self.pixels, self.down1, self.down2 = gnn.Pixels(), block(1, width), block(width, 2 * width)
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        self.up1 = block(3 * width, width)
        self.head = nn.Sequential(nn.Conv2d(width, 2, 1), nn.BatchNorm2d(2))

    def forward(self, x, target=None):
        a = self.down1(self.pixels(x))
        b = self.down2(self.pool(a))
        scores = self.head(self.up1(torch.cat([self.up(b), a], dim=1)))
        return scores if target is None else F.cross_entropy(scores, target)


def keywords(width=16):
    """Convolutions over time, on 8 features of 8 frames."""
    return nn.Sequential(
        gnn.Pixels(), nn.Conv1d(8, width, 3, padding=1), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Conv1d(width, 2 * width, 4, padding="same"), nn.BatchNorm1d(2 * width), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(2 * width, 2 * width, 3, dilation=1, groups=2, padding=1), nn.BatchNorm1d(2 * width), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * width, 10), nn.BatchNorm1d(10), nn.Softmax(1),
    )  # fmt: skip


def perceptron(width=64):
    """Real numbers in: 64 standardised features, as of a table."""
    return nn.Sequential(
        gnn.Quantize(-3.0, 3.0, N=5), nn.BatchNorm1d(64), nn.Linear(64, width), nn.BatchNorm1d(width), nn.Hardtanh(),
        nn.Dropout(0.1), nn.Linear(width, width), nn.BatchNorm1d(width), nn.Hardtanh(), nn.Linear(width, 10),
        nn.BatchNorm1d(10),
    )  # fmt: skip


class TwoHeads(nn.Module):
    """Which digit it is, and whether it is odd."""

    def __init__(self, width=8):
        super().__init__()
        self.trunk = nn.Sequential(
            gnn.Pixels(), nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.digit = nn.Sequential(nn.Linear(32 * width, 10), nn.BatchNorm1d(10))
        self.odd = nn.Sequential(
            nn.Linear(32 * width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2), nn.BatchNorm1d(2)
        )

    def forward(self, x):
        features = self.trunk(x)
        return {"digit": self.digit(features), "odd": self.odd(features)}


class Shuffle(nn.Module):
    """A unit of ShuffleNetV2 (Ma et al., arXiv 1807.11164): half of the channels pass by."""

    def __init__(self, width=16):
        super().__init__()
        half = width // 2
        self.stem = nn.Sequential(gnn.Pixels(), nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1), nn.BatchNorm2d(half), nn.ReLU(), nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(half, half, 2, groups=half), nn.BatchNorm2d(half), nn.ReLU(),
        )  # fmt: skip
        self.shuffle, self.pool = nn.ChannelShuffle(2), nn.AdaptiveMaxPool2d(2)
        self.fc, self.norm = nn.Linear(4 * width, 10), nn.BatchNorm1d(10)

    def forward(self, x):
        x = self.stem(x)
        by, through = x.chunk(2, dim=1)
        x = self.shuffle(torch.cat((by, self.branch(through)), dim=1))
        return self.norm(self.fc(self.pool(x).flatten(1)))


ZOO = {
    "ResNet-8": ResNet,
    "ResNet-20": lambda: ResNet(3, 4),
    "ResNet-18": ResNet18,
    "MobileNetV1": mobilenet_v1,
    "MobileNetV2": mobilenet_v2,
    "DenseNet": DenseNet,
    "U-Net": UNet,
    "keyword spotting": keywords,
    "tabular perceptron": perceptron,
    "ShuffleNetV2": Shuffle,
    "two heads": TwoHeads,
}
# Of a sample, and of the scores; as digits have them for the others.
SHAPES = {"keyword spotting": (8, 8), "tabular perceptron": (64,), "ResNet-18": (1, 32, 32)}
CLASSES = {"U-Net": 2, "two heads": {"digit": 10, "odd": ("even", "odd")}}
