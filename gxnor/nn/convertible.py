"""Which of a model's modules have a discrete form, and why the others have none; for `gxnor.nn.discretize`."""

from __future__ import annotations

import torch
from torch import nn

from gxnor.nn import graph
from gxnor.nn.layers import Conv1d, Conv2d, Linear

LAYERS = {nn.Linear: Linear, nn.Conv1d: Conv1d, nn.Conv2d: Conv2d}
RealLayer = nn.Linear | nn.Conv1d | nn.Conv2d
ACTIVATIONS = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU,
    nn.ReLU6, nn.RReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanh,
)  # fmt: skip
REASONS = (
    ((nn.RNNBase, nn.RNNCellBase), "is recurrent: its gates need real values between the steps"),
    (
        (nn.MultiheadAttention, nn.Transformer, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer),
        "multiplies activations with each other, which has no discrete form here",
    ),
    (
        (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.instancenorm._InstanceNorm, nn.LocalResponseNorm),
        "normalises by each sample's own statistics, which no threshold of an integer can express; use batch norm",
    ),
    (
        nn.modules.conv._ConvTransposeNd,
        "spreads sums over places, which has no discrete form here; use nn.Upsample(scale_factor=2) and nn.Conv2d",
    ),
    (nn.Conv3d, "has no discrete form here; use nn.Conv2d with frames as channels"),
    (nn.PReLU, "has a trained slope, which a discrete activation has not; use nn.ReLU"),
    (nn.modules.lazy.LazyModuleMixin, "has no weights yet: run a batch through the model first"),
)


def own_parameters(m: nn.Module) -> str:
    """Names of the parameters that a module holds itself."""
    return ", ".join(name for name, _ in m.named_parameters(recurse=False))


def problems_of(visible: dict, layers: list, activations: list, paths: dict[nn.Module, list[str]]) -> list[str]:
    """A line for each module that has no discrete form, with the reason, and for each parameter that cannot become one.

    Args:
        visible: the modules that are not to be kept, with their paths.
        layers, activations: those of them that are to be replaced.
        paths: of all modules of the model.
    """
    problems = []
    inside: set[nn.Module] = set()  # what a module that is named already holds, an attention's Linear for example
    for m, where in visible.items():
        reason = next((text for kinds, text in REASONS if isinstance(m, kinds)), "")
        if m in layers and (set(m._parameters) != {"weight", "bias"} or m._forward_hooks or m._forward_pre_hooks):
            reason = "has hooks or further parameters (a pruning, for example), which would be lost"
        elif where == [""] and (m in layers or m in activations):
            reason = "is the model itself and cannot be replaced in place; put it into an nn.Sequential"
        elif not reason and isinstance(m, tuple(LAYERS)) and type(m) not in LAYERS:
            reason = "is a subclass or a reparametrised form of a layer and may compute something else"
        elif not (reason or any(m.children()) or type(m) in LAYERS or isinstance(m, graph.NORMS)) and own_parameters(m):
            reason = f"has weights ({own_parameters(m)}) and is not a Linear, Conv1d, Conv2d or batch norm"
        if reason and m not in inside:
            inside.update(m.modules())
            problems.append(f"{where[0] or 'the model'}: {type(m).__name__} {reason}")

    owners: dict[torch.Tensor, list[tuple[nn.Module, str]]] = {}
    for m in paths:
        for name, parameter in m.named_parameters(recurse=False):
            owners.setdefault(parameter, []).append((m, name))
    for sharing in owners.values():
        together = all(m in layers and name == "weight" for m, name in sharing)
        if len(sharing) > 1 and not together and any(m in layers for m, _ in sharing):
            names = " and ".join(f"{paths[m][0]}.{name}" for m, name in sharing)
            problems.append(f"{names} are one parameter, and not all of them can become discrete together")
    return problems
