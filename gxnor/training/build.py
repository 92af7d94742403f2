"""Makes data, network and optimizer from a recipe, and writes and reads the networks of its runs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch

from gxnor import data
from gxnor.errors import GxnorError, WorkError
from gxnor.exporter.unfolding import load_program
from gxnor.nn.integer_products import integer_arithmetic
from gxnor.nn.networks import network, parse
from gxnor.nn.saved_activations import pack_saved_activations
from gxnor.nn.stream import subkey
from gxnor.optim import DST
from gxnor.pretrained import find
from gxnor.program import file
from gxnor.training import checkpoint, distributed
from gxnor.training.recipe import Recipe

STATISTICS = 256  # images whose sums tell mean and variance of batch norm where a program has thresholds
INIT = 0  # the purpose of a network's random states among the streams of a recipe's seed (`trainer`)


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one. Raises GxnorError where CUDA is asked for and is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise GxnorError("train.device is cuda, but PyTorch finds no CUDA device; use auto or cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def memory_format(recipe: Recipe, dims: int) -> torch.memory_format:
    """Of a batch of samples of so many dimensions: only images (C, H, W) have another than the usual one."""
    return torch.channels_last if recipe.train.channels_last and dims == 3 else torch.contiguous_format


def count_parts(recipe: Recipe, workers: int) -> int:
    """The number of parts of a batch. Raises GxnorError where they cannot be equal and the workers have the same share."""
    parts, batch = recipe.train.micro_batches, recipe.train.batch
    if parts > 1 and parts % workers:
        raise GxnorError(
            f"train.micro_batches is {parts}, expected 1 or a multiple of the number of workers, which is {workers}"
        )
    parts = max(parts, workers)
    if batch % parts or batch == parts:  # batch norm needs two images
        raise GxnorError(
            f"train.batch is {batch}, expected a multiple of {parts} (train.micro_batches, workers), and more than it"
        )
    return parts


def load_data(recipe: Recipe, data_dir: Path | None) -> data.Dataset:
    known: dict[str, dict[str, Any]] = {"svhn": {"extra": recipe.data.extra}, "folder": {"path": recipe.data.path}}
    options = known.get(recipe.data.name, {})
    if recipe.data.name == "folder" and recipe.data.size:
        options["size"] = tuple(recipe.data.size)
    return data.load(recipe.data.name, data_dir, **options)


def split(dataset: data.Dataset, recipe: Recipe, device: torch.device):
    """(images, labels) to train on and (images, labels) to select on. The split is the same for every seed, so that runs
    of different seeds are compared on the same images."""
    count, held = len(dataset.train_images), recipe.data.validation
    if held >= count:
        raise GxnorError(f"data.validation is {held}, but the training set has only {count} images")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).numpy()
    if recipe.data.train > count - held:
        raise GxnorError(f"data.train is {recipe.data.train}, but only {count - held} images are left to train on")
    parts = order[held:][: recipe.data.train or None], order[:held]
    return [
        (
            torch.from_numpy(dataset.train_images[part]).to(device),
            torch.from_numpy(dataset.train_labels[part]).to(device),
        )
        for part in parts
    ]


def build(recipe: Recipe, input_shape: tuple[int, ...], classes: tuple[str, ...]) -> torch.nn.Sequential:
    """The recipe's network for images [channels, height, width] or series [channels, length], its random states drawn from
    the recipe's seed."""
    settings = recipe.network
    outputs = parse(settings.layers)[-1][1]
    if outputs != len(classes):
        raise GxnorError(f"network.layers ends in {outputs} outputs, but {recipe.data.name} has {len(classes)} classes")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(subkey(recipe.train.seed, INIT) >> 1)
        try:
            return network(settings.layers, input_shape, recipe.precision.build(), settings.padding, settings.width)
        except ValueError as error:
            raise GxnorError(f"recipe: network: {error}") from None


def make_optimizer(recipe: Recipe, model: torch.nn.Module, generator: torch.Generator | None = None) -> DST:
    """The recipe's optimizer; discrete weights move inside the backward pass."""
    opt = recipe.optimizer
    optimizer = DST(
        model, opt.lr, increment=opt.increment, betas=(opt.beta1, opt.beta2), eps=opt.eps, counter=opt.counter,
        split_zero=opt.split_zero, hysteresis=opt.hysteresis, m=opt.m, probability=opt.probability, generator=generator,
    )  # fmt: skip
    optimizer.update_in_backward(distributed.add)
    return optimizer


def saving(recipe: Recipe) -> contextlib.AbstractContextManager:
    """The context of a forward pass in training: what it saves for backward is small where the recipe says so."""
    on = recipe.train.pack_saved_activations and not recipe.train.compile
    return pack_saved_activations() if on else contextlib.nullcontext()


def arithmetic(recipe: Recipe, model: torch.nn.Module, key: int) -> contextlib.AbstractContextManager:
    """The context of forward passes: products of integers where the recipe says so. `key` is another one for every forward
    pass with a backward pass after it."""
    if recipe.train.arithmetic == "float":
        return contextlib.nullcontext()
    return integer_arithmetic(recipe.train.gradient_bits, key, model)


def save_network(path: Path, model: torch.nn.Module, dataset: data.Dataset) -> None:
    """The network alone, with what it takes to use it without its data."""
    shape = list(dataset.train_images.shape[1:])
    state = checkpoint.model_state(model)
    checkpoint.save(path, {"model": state, "input_shape": shape, "classes": list(dataset.classes)})


def read_network(path: Path) -> dict:
    """What a file of `save_network` holds. Raises WorkError where it holds no network."""
    tree = checkpoint.load(path)
    if missing := {"model", "input_shape", "classes"} - tree.keys():
        raise WorkError(f"{path} holds no network: it lacks {', '.join(sorted(missing))}")
    return tree


def start_from(model: torch.nn.Sequential, start: str, images: torch.Tensor) -> None:
    """Gives the model the weights and batch norm of a run's best network, or of a `.gxnor` file or pretrained network.

    A file has thresholds instead of batch norm: statistics are those of the first of the images, see
    `gxnor.exporter.unfolding`. Raises GxnorError where there is no network, or another one; in a run, how many states
    activations have may differ."""
    try:
        path = find(start)
        if path.suffix == ".gxnor":
            load_program(model, file.read(path), images[:STATISTICS])
            return
        if not (best := path / "best.safetensors").exists():
            raise GxnorError(
                f"expected the folder of a run with a finished epoch or a .gxnor file, but {best} is missing"
            )
        checkpoint.load_model_state(model, read_network(best)["model"])
    except GxnorError as error:
        raise type(error)(f"train.start = {start!r}: {error}") from None


def load_network(path: Path, recipe: Recipe) -> tuple[torch.nn.Sequential, tuple[int, ...], tuple[str, ...]]:
    """(network, input shape, classes) from a file of `save_network`."""
    tree = read_network(path)
    shape, classes = tuple(tree["input_shape"]), tuple(tree["classes"])
    model = build(recipe, shape, classes)
    checkpoint.load_model_state(model, tree["model"])
    return model.eval(), shape, classes
