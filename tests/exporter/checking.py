"""An export beside its model, layer by layer, for the tests that share it."""

import warnings

import numpy as np
import torch
from torch import nn

from gxnor.exporter import export
from gxnor.nn import Activation, DiscreteLayer
from gxnor.program import reference
from gxnor.program.ops import Conv, Dense, Threshold
from gxnor.runtime.engine import Engine

BATCH = 6


def seeded(make):
    """A model with states and biases that are the same in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
        for layer in model.modules():
            if isinstance(layer, DiscreteLayer) and layer.bias is not None:
                nn.init.normal_(layer.bias, std=2)
    return model


@torch.no_grad()
def fit(model, x):
    """Statistics of its own sums for every batch norm, parameters drawn; gamma = 0 and gamma < 0 among them."""
    random = torch.Generator().manual_seed(1)
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
        if norm.affine:
            norm.weight.normal_(generator=random)
            norm.weight[::7] = 0
            norm.bias.normal_(0, 0.5, generator=random)
    model.train()(x)
    return model.eval()


def pixels(shape, batch=BATCH):
    return torch.randint(256, (batch, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def watched(model, x):
    """(outputs of the discrete layers, outputs of the activations, scores), outputs in the order they are made."""
    sums, states = [], []
    hooks = []
    for module in model.modules():
        if isinstance(module, DiscreteLayer):
            hooks.append(module.register_forward_hook(lambda layer, given, y: sums.append((layer, y.clone()))))
        if isinstance(module, Activation):
            hooks.append(module.register_forward_hook(lambda layer, given, y: states.append((layer, y))))
    scores = model(x)
    for hook in hooks:
        hook.remove()
    return sums, states, scores.numpy()


def check(make, shape, space=None, x=None, phi_is_called=False):
    """Exports a model and compares everything, but states that a function makes. Returns the program."""
    x = pixels(shape) if x is None else x
    model = fit(seeded(make), x)
    sums, states, scores = watched(model, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program = export(model, shape, [str(i) for i in range(scores.shape[1])], space)
    given = x.numpy() if space is None else space.index(x.numpy())
    trace = reference.trace(program, given)

    numbers = [i for i, layer in enumerate(program.layers, 1) if isinstance(layer, Conv | Dense)]
    for number, (layer, y) in zip(numbers, sums, strict=True):
        total = y if layer.bias is None else y - layer.bias.view(-1, *(1,) * (y.dim() - 2))
        mine = torch.from_numpy(trace[number])
        largest = mine.abs().argmax()
        unit = (total.flatten()[largest] / mine.flatten()[largest]).item()
        if layer.bias is None:
            assert torch.equal(mine.double() * unit, y.double())
        else:
            unit = 2.0 ** round(np.log2(unit))
            assert torch.equal((mine * unit).float() + layer.bias.view(-1, *(1,) * (y.dim() - 2)), y)

    numbers = [i for i, layer in enumerate(program.layers, 1) if isinstance(layer, Threshold)]
    for number, (layer, y) in zip(numbers, states, strict=not phi_is_called):
        while program.values[number].shape != y.shape[1:]:  # pooling and flattening that waited for the activation
            number += 1
        assert np.array_equal(trace[number], (y * layer.space.denominator).numpy())
        assert len(np.unique(trace[number])) > 1

    assert np.array_equal(trace[-1].argmax(1), scores.argmax(1))
    np.testing.assert_allclose(trace[-1], scores, rtol=1e-5, atol=1e-5 * max(1, np.abs(scores).max()))
    assert np.array_equal(Engine(program).run(given), trace[-1])
    return program


def kinds(program):
    return [type(layer).__name__ for layer in program.layers]
