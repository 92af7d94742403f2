"""What a training step holds: weights, optimizer, gradients and activations, by layer, and the peak this makes.

Nothing is known here about layers or gradient rules: one step runs on a few images, and what autograd saved, what the
optimizer keeps and which gradients are left are read off. What autograd saves grows linearly with the batch, so two
small batches tell all of them. The peak is that of the largest moment, and a moment is one layer's forward or backward:

    forward    weights + optimizer + saved so far + the layer's input and output where they are not saved
    backward   weights + optimizer + saved so far + gradients so far + those of the layer's output and input + work

where work is what convolutions and matrix products hold meanwhile: weights as float, their gradient, and blocked copies;
and on the CPU, at every moment, what its kernels keep once they have run. How many copies these are was found by
measuring: the rest is count. In integer arithmetic, where layers run as blocks, a block stands under its first layer, and so
does a residual block.
"""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from gxnor.errors import GxnorError
from gxnor.nn.blocks import Sequential, parts
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.residual import Residual
from gxnor.nn.saved_formats import SLICE
from gxnor.training.memory.measure import Step, parts_at_end
from gxnor.training.memory.watch import PROBES, Layer, Watch, size_of
from gxnor.training.recipe import Recipe

KERNELS = 3_000_000  # bytes that compute kernels on the CPU take on first use, as measured
WIDTHS = 10  # looked at, at most, to find the widest network within a budget
SHAPES = {
    "digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion": (1, 28, 28), "cifar10": (3, 32, 32), "svhn": (3, 32, 32),
    "fsdd": (32, 64),
}  # fmt: skip


@dataclass
class Prediction:
    """The layers of a network and what they come to, in bytes."""

    layers: list[Layer]
    parts: int  # of a batch, one after the other
    accumulates: bool  # whether the gradients of one part wait for the next, at least at the end of a run
    kept: int  # by the kernels from one use to the next

    def total(self, what: str) -> int:
        return sum(getattr(layer, what) for layer in self.layers)

    def activations(self, batch: int) -> float:
        """What is saved for backward, of a part of the batch."""
        return sum(layer.at(batch // self.parts, "saved") for layer in self.layers)

    def peak(self, batch: int) -> float:
        """The largest moment of a step."""
        batch //= self.parts
        held, gradients = self.total("weights") + self.total("optimizer") + self.kept, self.total("gradients")
        before = gradients if self.accumulates else 0  # of the parts before, all the time
        saved, peak = 0.0, 0.0
        for layer in self.layers:  # in the order of forward: what backward has not reached yet has no gradient yet
            peak = max(peak, held + before + saved + layer.at(batch, "passing"))
            saved += layer.at(batch, "saved")
            flowing = layer.at(batch, "flowing")
            work = layer.work + min(flowing, sum(min(SLICE, size * batch) for size in layer.slices))
            peak = max(peak, held + max(before, gradients - layer.gradients) + saved + flowing + work)
            gradients -= layer.gradients
        return peak

    def largest_batch(self, budget: float) -> int:
        """The largest batch whose peak is within the budget; 0 where none is."""
        low, high = 0, 1
        while self.peak(high) <= budget and high < 2**30:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.peak(middle) <= budget else (low, middle)
        return low


def input_shape(recipe: Recipe) -> tuple[int, ...]:
    """(channels, height, width) of the recipe's images, or (channels, length), without reading them."""
    if recipe.data.name == "folder":
        if not recipe.data.size:
            raise GxnorError("the size of a folder's images is not in the recipe: give --set data.size=[HEIGHT,WIDTH]")
        return 3, *recipe.data.size
    return SHAPES[recipe.data.name]


def twin(recipe: Recipe) -> Recipe:
    """The same network with float latent weights under Adam, saved as PyTorch saves it, on batches that stay."""
    latent = recipe.precision.weights != "real"
    return recipe.model_copy(
        update={
            "precision": recipe.precision.model_copy(update={"latent": latent}),
            "optimizer": recipe.optimizer.model_copy(update={"increment": "adam", "counter": 0}),
            "train": recipe.train.model_copy(
                update={"pack_saved_activations": False, "batch_growth": 1, "arithmetic": "float"}
            ),
        }
    )


def with_width(recipe: Recipe, width: float) -> Recipe:
    return recipe.model_copy(update={"network": recipe.network.model_copy(update={"width": width})})


def predict(recipe: Recipe, shape: tuple[int, ...]) -> Prediction:
    """Runs the recipe's network on a few random images and reads off what it holds."""
    step, accumulates = Step(recipe, shape), parts_at_end(recipe.train) > 1
    layers = {name: Layer(name) for name, module in step.model.named_modules() if not list(module.children())}
    integer, model = recipe.train.arithmetic == "integer", step.model
    watched = {name: model.get_submodule(name) for name in layers}
    first_of = {name: name for name in layers}  # the layer that a residual block stands under, by those in it
    if integer:
        first_of |= _residuals_whole(model, watched)
        step.model = _in_blocks(model, watched)
    for number, batch in enumerate(PROBES):
        step.optimizer.zero_grad()
        with Watch(model, watched, layers, number) as watch:
            loss = step.forward(batch)
        with step.optimizer.accumulating() if accumulates else contextlib.nullcontext():
            loss.backward()
        gradients = {name: p.grad is not None for name, p in model.named_parameters()}
        step.optimizer.step()
    for name, p in model.named_parameters():
        layer = layers[name.rpartition(".")[0]]
        layer.weights += size_of(getattr(p, "packed", p))
        layer.optimizer += sum(size_of(t) for t in step.optimizer.state[p].values() if isinstance(t, torch.Tensor))
        layer.gradients += p.numel() * p.element_size() * gradients[name]
    for name, buffer in model.named_buffers():
        layers[name.rpartition(".")[0]].weights += size_of(buffer)
    for name, layer in layers.items():
        module = model.get_submodule(name)
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            packed = isinstance(module.weight, DiscreteParameter)
            dense = isinstance(module, nn.Linear)
            if integer:
                _count_integers(layer, module, watch.outputs[first_of[name]])
                continue
            sliced = packed and not dense and step.device.type == "cpu"
            if sliced:
                layer.slices = watch.images[name]
            # The weights as float and their gradient; of latent weights of a dense layer, their gradient once more where
            # it is accumulated; of a convolution, its kernel's blocked copies of both, too, and the gradient of the slice
            # under way, with a copy.
            copies = (2 if packed else 3) if dense else 6 if sliced else 4
            layer.work = module.weight.numel() * 4 * copies
    return Prediction(list(layers.values()), recipe.train.micro_batches, accumulates, _kept(step, integer))


def _residuals_whole(model: nn.Module, watched: dict[str, nn.Module]) -> dict[str, str]:
    """Puts every residual block in the places of its layers in `watched`, by the name of its first one, for the reason that
    `_in_blocks` has. Returns that name by the names of its layers."""
    first_of: dict[str, str] = {}
    for name, block in model.named_modules():
        if isinstance(block, Residual):
            first, *others = (layer for layer in watched if layer.startswith(f"{name}."))
            watched[first] = block
            for layer in others:
                del watched[layer]
            first_of |= dict.fromkeys(others, first)
    return first_of


def _in_blocks(model: nn.Module, watched: dict[str, nn.Module]) -> nn.Sequential:
    """The model with every block in a module of its own, which takes the places of its layers in `watched`, by the name of
    its first one: a hook on a layer of a block would have it run by itself."""
    names, outer = {module: name for name, module in model.named_children()}, OrderedDict[str, nn.Module]()
    for part in parts(model.children()):
        first = names[part[0]]
        outer[first] = part[0] if len(part) == 1 else Sequential(*part)
        for module in part[1:]:
            del watched[names[module]]
        if len(part) > 1:
            watched[first] = outer[first]
    return nn.Sequential(outer)


def _count_integers(layer: Layer, module: nn.Linear | nn.Conv1d | nn.Conv2d, outputs: torch.Size) -> None:
    """Adds what the products hold in integer arithmetic: the states of the output, before the next layer saves them, and
    later its rounded gradient, in a byte per value, and the gradient of the weights, of a convolution once more where its
    order is changed."""
    for number, batch in enumerate(PROBES):
        layer.passing[number] += outputs[1:].numel() * batch
        layer.flowing[number] += outputs[1:].numel() * batch
    layer.work = module.weight.numel() * 4 * (1 if isinstance(module, nn.Linear) else 2)


def _kept(step: Step, integer: bool) -> int:
    """What oneDNN keeps: compiled code and the like, and scratch memory as large as the largest convolution's weights."""
    if step.device.type != "cpu":
        return 0
    if integer:
        return KERNELS
    convolutions = [m.weight.numel() for m in step.model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d))]
    return KERNELS + 4 * max(convolutions, default=0)


def widest(recipe: Recipe, shape: tuple[int, ...], budget: float) -> float:
    """About the width (`network.width`) at which the predicted peak of a step on the recipe's batch is the budget; 0
    where none is. Bytes grow with the width by a power of 1/2 to 2, which is read off the last two widths looked at."""
    width, power = recipe.network.width, 2.0
    peak = predict(with_width(recipe, width), shape).peak(recipe.train.batch)
    for _ in range(WIDTHS):
        gap = math.log(budget / peak)
        if abs(gap) < 0.01 or width < 0.001:
            break
        step = gap / power
        width *= math.exp(step)
        before, peak = peak, predict(with_width(recipe, width), shape).peak(recipe.train.batch)
        power = min(max(math.log(peak / before) / step, 0.5), 2.0)
    return width if peak < 1.05 * budget else 0.0
