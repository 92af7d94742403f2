"""Trains a ternary network on MNIST without recipes: the training loop, nothing else.

python examples/train_mnist.py              99.2 % in about ten minutes of one core
python examples/train_mnist.py --quick      scikit-learn's digits instead: seconds, nothing to download
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

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--quick", action="store_true")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--output", default="mnist.gxnor")
options = parser.parse_args()

torch.manual_seed(0)
dataset = data.load("digits" if options.quick else "mnist")
images, labels = torch.from_numpy(dataset.train_images), torch.from_numpy(dataset.train_labels)
kernel = 3 if options.quick else 5
model = nn.Sequential(
    gnn.Pixels(),  # uint8 images as exact integers
    gnn.Conv2d(1, 32, kernel, padding="same"), nn.MaxPool2d(2), nn.BatchNorm2d(32), gnn.Activation(N=1),
    gnn.Conv2d(32, 64, kernel, padding="same"), nn.MaxPool2d(2), nn.BatchNorm2d(64), gnn.Activation(N=1),
    nn.Flatten(),
    gnn.Linear(64 * (images.shape[-1] // 4) ** 2, 256), nn.BatchNorm1d(256), gnn.Activation(N=1),
    gnn.Linear(256, 10), nn.BatchNorm1d(10),
)  # fmt: skip

# Weights are states from the first moment on: 2 bits each, and 4 bits of counter in the optimizer.
optimizer = DST(model, lr=0.1)
optimizer.update_in_backward()  # the weights of a layer move as soon as its gradient is there
batch = 50 if options.quick else 250
steps = options.epochs * (len(images) // batch)
schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.1 ** (1 / steps))  # to a tenth of the first rate

for epoch in range(1, options.epochs + 1):
    model.train()
    for chosen in torch.randperm(len(images)).split(batch):
        if len(chosen) < batch:
            continue
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"epoch {epoch:2}  loss {loss.item():.4f}", flush=True)

update_bn(images.split(batch)[:20], model)  # batch norm's statistics lag behind weights that moved
program = gxnor.export(model.eval(), dataset.train_images.shape[1:], dataset.classes)  # checks itself against the model
program.save(options.output)

network = gxnor.load(options.output)  # from here on, PyTorch is not needed
accuracy = (network.predict(dataset.test_images) == dataset.test_labels).mean()
print(f"{100 * accuracy:.2f} % of {len(dataset.test_labels):,} test images, by the integer program in {options.output}")
