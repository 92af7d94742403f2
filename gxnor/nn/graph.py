"""What a model's forward pass does with its modules, read off by symbolic tracing (torch.fx): nothing is computed."""

from __future__ import annotations

import operator
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

ACTIVATION_NAMES = {
    "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "prelu", "relu",
    "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh",
}  # fmt: skip
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool1d,
         nn.AdaptiveAvgPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.Identity)  # fmt: skip


@dataclass(frozen=True)
class Forward:
    """What was seen.

    norms: layer -> the batch norms that every one of its results goes into, and nothing else goes into; a pooling that
        treats all channels alike may lie between. Layers with other uses are not in it.
    functional: (path of the module whose code calls it, name) of activations that are functions and not modules, the
        model's output apart.
    adds: paths of the modules whose code adds two values.
    outputs: modules whose result is the model's output.
    """

    norms: dict[nn.Module, list[_BatchNorm]]
    functional: list[tuple[str, str]]
    adds: list[str]
    outputs: set[nn.Module]


class _Tracer(fx.Tracer):
    def __init__(self, leaves: Collection[nn.Module]):
        super().__init__()
        self.leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m in self.leaves or super().is_leaf_module(m, module_qualified_name)


def read(model: nn.Module, leaves: Collection[nn.Module]) -> Forward:
    """Traces the forward pass, without looking into `leaves`.

    Raises whatever the tracing runs into: torch.fx cannot follow every Python program."""
    graph = _Tracer(leaves).trace(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    called = {node: modules[node.target] for node in graph.nodes if node.op == "call_module"}
    return Forward(
        norms=_norms(called),
        functional=[(_owner(n), _name(n)) for n in graph.nodes if _name(n) in ACTIVATION_NAMES and not _is_output(n)],
        adds=list(dict.fromkeys(_owner(node) for node in graph.nodes if _is_add(node))),
        outputs={module for node, module in called.items() if _is_output(node)},
    )


def _norms(called: dict[fx.Node, nn.Module]) -> dict[nn.Module, list[_BatchNorm]]:
    found: dict[nn.Module, list[_BatchNorm | None]] = {}
    feeds: dict[nn.Module, list[nn.Module]] = {}
    for node, layer in called.items():
        norm = _next_norm(node, called)
        found.setdefault(layer, []).append(norm)
        if norm is not None:
            feeds.setdefault(norm, []).append(layer)
    calls = list(called.values())

    def only(layer: nn.Module, norm: _BatchNorm | None) -> bool:
        if norm is None:
            return False
        sources = [source for source in feeds.get(norm, []) if not isinstance(source, POOLS)]
        return set(sources) == {layer} and len(sources) == calls.count(norm)

    return {
        layer: [norm for norm in norms if norm is not None]
        for layer, norms in found.items()
        if all(only(layer, norm) for norm in norms)
    }


def _next_norm(node: fx.Node, called: dict[fx.Node, nn.Module]) -> _BatchNorm | None:
    """The batch norm that the node's result goes into, and nowhere else."""
    while len(node.users) == 1:
        (node,) = node.users
        module = called.get(node)
        if isinstance(module, NORMS):
            return module
        if not isinstance(module, POOLS) or not _keeps_constants(module):
            return None
    return None


def _keeps_constants(pool: nn.Module) -> bool:
    """Whether the pooling of a constant is that constant: what is added to its input may be added to its output."""
    if not isinstance(pool, (nn.AvgPool1d, nn.AvgPool2d)):
        return True
    padding = pool.padding if isinstance(pool.padding, tuple) else (pool.padding,)
    padded = pool.count_include_pad and any(padding)
    return not padded and getattr(pool, "divisor_override", None) is None


def _name(node: fx.Node) -> str:
    """Name of the function or method that is called, in-place forms included."""
    if node.op == "call_method":
        return str(node.target).rstrip("_")
    return getattr(node.target, "__name__", "").rstrip("_") if node.op == "call_function" else ""


def _is_add(node: fx.Node) -> bool:
    is_add = node.target in (operator.add, operator.iadd, torch.add, "add", "add_")
    return is_add and all(isinstance(argument, fx.Node) for argument in node.args[:2])


def _is_output(node: fx.Node) -> bool:
    return bool(node.users) and all(user.op == "output" for user in node.users)


def _owner(node: fx.Node) -> str:
    """Path of the module whose forward code the node comes from; empty for the model itself."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return stack[-1][0] if stack else ""
