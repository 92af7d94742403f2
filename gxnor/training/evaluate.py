"""Scores of a network on a set of images, and what can be read off them and off its layers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import nn

from gxnor.nn.activation import Activation
from gxnor.nn.layers import DiscreteLayer
from gxnor.packing import radix_size

BATCH = 200  # larger ones are slower on a CPU, where they leave its caches
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True)
class Evaluation:
    scores: torch.Tensor  # float [images, classes]
    labels: torch.Tensor  # int64 [images]
    loss: float

    @property
    def predicted(self) -> torch.Tensor:
        return self.scores.argmax(1)

    @property
    def accuracy(self) -> float:
        return (self.predicted == self.labels).double().mean().item()

    def confusion(self) -> torch.Tensor:
        """int64 [classes, classes]: true class by row, predicted by column."""
        classes = self.scores.shape[1]
        return torch.bincount(self.labels * classes + self.predicted, minlength=classes**2).view(classes, classes)

    def margins(self) -> torch.Tensor:
        """float [images]: score of the true class minus the best of the others; negative where wrong."""
        true = self.scores.gather(1, self.labels[:, None])[:, 0]
        others = self.scores.scatter(1, self.labels[:, None], -torch.inf)
        return true - others.amax(1)


@torch.no_grad()
def evaluate(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, loss, prepare) -> Evaluation:
    """Runs the model, in evaluation mode, on uint8 images. `prepare` brings a batch to the model's device and format."""
    was_training = model.training
    model.eval()
    scores = torch.cat([model(prepare(batch)).float().cpu() for batch in images.split(BATCH)])
    model.train(was_training)
    labels = labels.cpu()
    return Evaluation(scores, labels, loss(scores, labels).item())


@contextlib.contextmanager
def counting_zeros(model: nn.Module):
    """Yields a dict that maps every discrete activation's name to [zero outputs, all outputs] while it is open."""
    counts = {name: [0, 0] for name, module in model.named_modules() if isinstance(module, Activation)}

    def count(name, output):
        counts[name][0] += int((output == 0).sum())
        counts[name][1] += output.numel()

    hooks = [
        model.get_submodule(name).register_forward_hook(lambda m, args, output, name=name: count(name, output))
        for name in counts
    ]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def layer_statistics(model: nn.Module, zeros: dict[str, list[int]], flip_rates: dict) -> list[dict]:
    """A dict for every weighted layer, in order: name, N, H, weights, flip_rate, states (shares, ascending) and
    zero_activations of the activation that follows it; None where there is no such thing."""
    layers: list[dict] = []
    for name, module in model.named_modules():
        if isinstance(module, WEIGHTED):
            space = module.space if isinstance(module, DiscreteLayer) else None
            layers.append({
                "name": name,
                "N": None if space is None else space.N,
                "H": None if space is None else space.H,
                "weights": module.weight.numel(),
                "flip_rate": flip_rates.get(module.weight),
                "states": state_shares(module) if isinstance(module, DiscreteLayer) else None,
                "zero_activations": None,
            })  # fmt: skip
        elif name in zeros and layers:
            zero, total = zeros[name]
            layers[-1]["zero_activations"] = zero / total if total else None
    return layers


def state_shares(layer: DiscreteLayer) -> list[float]:
    """Share of the layer's weights in each state, ascending."""
    counts = torch.bincount(layer.states().flatten().int().cpu(), minlength=layer.space.size)
    return (counts / max(counts.sum().item(), 1)).tolist()


def weight_summary(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> dict:
    """weights: their number in weighted layers; bits_per_weight: as shipped, states packed; zero_fraction; and, with the
    optimizer, train_state_bytes_per_weight: all that persists between steps, batch norm and its optimizer state too."""
    layers = [module for module in model.modules() if isinstance(module, WEIGHTED)]
    count = sum(layer.weight.numel() for layer in layers)
    bits, zeros = 0, 0.0
    for layer in layers:
        n = layer.weight.numel()
        if isinstance(layer, DiscreteLayer):
            bits += 8 * radix_size(n, layer.space.size)
            zeros += n * layer.zero_fraction()
        else:
            bits += 8 * n * layer.weight.element_size()
            zeros += n * (layer.weight == 0).float().mean().item()
    summary = {"weights": count, "bits_per_weight": bits / count, "zero_fraction": zeros / count}
    if optimizer is None:
        return summary
    held = [getattr(t, "packed", t) for t in model.state_dict().values()]
    held += [t for state in optimizer.state.values() for t in state.values() if isinstance(t, torch.Tensor)]
    return {**summary, "train_state_bytes_per_weight": sum(t.numel() * t.element_size() for t in held) / count}
