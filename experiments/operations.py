"""Operations per image: the products that the trained network of a run forms.

A network whose weights and activations are discrete is exported and its events are counted on images. One with real
activations is counted from shapes and states: M multiply-adds of a real network, M additions of binary weights, those
with a non-zero weight of ternary ones (GXNOR-Net, arXiv 1705.09283, table 3; see `gxnor.analysis.energy`). The stand-in that
gives its products is a network of the same shape with ternary activations and the same weights.
"""

from __future__ import annotations

import numpy as np
import torch

from gxnor.analysis import energy, events
from gxnor.exporter import export
from gxnor.nn.layers import DiscreteLayer
from gxnor.nn.networks import network
from gxnor.nn.precision import PRECISIONS, Precision
from gxnor.training.evaluate import WEIGHTED
from gxnor.training.recipe import Recipe


def count(model: torch.nn.Module, recipe: Recipe, images: np.ndarray, classes: tuple[str, ...]) -> dict:
    """products: those of the full-precision twin an image; fired: those that are formed; operation: what one takes,
    "multiply-add", "addition" or "XNOR"; zero_activations: share of the hidden activations that are 0, or None.

    Args:
        model: the trained network, on the CPU.
        images: uint8 [n, C, H, W] to count on.
    """
    spaces = recipe.precision
    if spaces.weights != "real" and spaces.activations != "real":
        counted = events.count(export(model, images.shape[1:], classes), images)
        hidden = [layer for layer in counted.layers if not layer.pixels]
        share = sum(x.zero_inputs for x in hidden) / max(sum(x.inputs for x in hidden), 1)
        operation = "XNOR" if max(spaces.weights, spaces.activations) <= 1 else "multiply-add"
        return _row(counted.total.macs / len(images), counted.total.fired / len(images), operation, share)
    counted = events.count(export(_stand_in(model, recipe, images.shape[1:]), images.shape[1:], classes), images[:1])
    table = energy.counterparts(counted)
    if spaces.weights == "real":
        return _row(counted.total.macs, table["full precision"].float_multiplications, "multiply-add", None)
    return _row(counted.total.macs, table["TWN"].float_additions, "addition", None)


def _row(products: float, fired: float, operation: str, zero_activations: float | None) -> dict:
    return {"products": products, "fired": fired, "operation": operation, "zero_activations": zero_activations}


def _stand_in(model: torch.nn.Module, recipe: Recipe, shape: tuple[int, ...]) -> torch.nn.Module:
    """The same layers with ternary activations; the weights of `model` where they are discrete."""
    N = None if recipe.precision.weights == "real" else recipe.precision.weights
    precision = PRECISIONS["gxnor"] if N is None else Precision(weights=N, activations=1)
    settings = recipe.network
    twin = network(settings.layers, shape, precision, settings.padding, settings.width).eval()
    pairs = zip(_weighted(twin), _weighted(model), strict=True)
    for mine, theirs in pairs:
        if isinstance(theirs, DiscreteLayer):
            mine.weight.set_indices(theirs.states())
    return twin


def _weighted(model: torch.nn.Module) -> list[torch.nn.Module]:
    return [module for module in model.modules() if isinstance(module, WEIGHTED)]
