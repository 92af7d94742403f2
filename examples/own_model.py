"""Your own model: a residual network of torch's layers, made discrete, trained, exported, and checked.

python examples/own_model.py [--epochs N]      scikit-learn's digits, a minute on one core
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

import gxnor
import gxnor.nn as gnn
from gxnor import data
from gxnor.optim import DST


class Block(nn.Module):
    """The standard residual block: batch norm on both branches before the addition."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
        self.norm3 = nn.BatchNorm2d(channels_out)
        self.act2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        return self.act2(inside + self.norm3(self.shortcut(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.pixels = gnn.Pixels()  # uint8 images as exact integers
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Block(16, 32, stride=2), Block(32, 32))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 4 * 4, 10, bias=False), nn.BatchNorm1d(10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(self.pixels(x))))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()

torch.manual_seed(0)
dataset = data.load("digits")
images, labels = torch.from_numpy(dataset.train_images), torch.from_numpy(dataset.train_labels)
model = ResNet()
print(gnn.discretize(model))  # layers and activations become discrete, in place; the report says what and why
print(gxnor.check(model, dataset.train_images.shape[1:]))  # what each part will be in the exported program

optimizer = DST(model, lr=0.2)
schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.1 ** (1 / options.epochs))
for epoch in range(1, options.epochs + 1):
    model.train()
    for chosen in torch.randperm(len(images)).split(50):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
    schedule.step()
    print(f"epoch {epoch:2}  loss {loss.item():.4f}", flush=True)
update_bn(images.split(50), model)

program = gxnor.export(model.eval(), dataset.train_images.shape[1:], dataset.classes)
program.save("own.gxnor")
predicted = gxnor.load("own.gxnor").predict(dataset.test_images)
with torch.no_grad():
    expected = model(torch.from_numpy(dataset.test_images)).argmax(1).numpy()
print(
    f"the integer program predicts what the model predicts on {(predicted == expected).sum()} of {len(predicted)} images"
)
print(f"{100 * (predicted == dataset.test_labels).mean():.2f} % of {len(predicted)} test images")
