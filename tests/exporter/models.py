"""Models that the tests of the export share."""

import torch
from torch import nn

import gxnor.nn as gnn


def images(shape, batch=40):
    return torch.randint(256, (batch, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def fitted(model, x):
    """Batch norms with statistics of their own sums and random parameters, some negative."""
    random = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            module.weight.normal_(generator=random)
            module.bias.normal_(0, 0.5, generator=random)
    model.train()(x)
    return model.eval()


def stem():
    """From images (2, 8, 8) to 8 channels of 8x8 states."""
    return nn.Sequential(gnn.Pixels(), gnn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), gnn.Activation(2, r=0.2))
