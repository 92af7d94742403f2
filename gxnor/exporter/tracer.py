"""torch.fx with our layers as nodes, and with branches on shapes taken as they are."""

from __future__ import annotations

import operator

import torch
from torch import fx, nn

from gxnor.exporter import compare
from gxnor.nn.activation import Activation
from gxnor.nn.layers import DiscreteLayer
from gxnor.nn.pixels import Pixels
from gxnor.nn.quantize import Quantize
from gxnor.program import Input

SHAPES = {"shape", "ndim"}  # attributes of a tensor that no number in it changes
SIZES = {"size", "dim", "numel"}  # and methods


class Tracer(fx.Tracer):
    """`source`: what the model takes, to find out what its shapes are."""

    def __init__(self, source: Input):
        super().__init__()
        self.source, self.looking = source, False

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        ours = type(module).__module__.startswith("gxnor.nn.") and isinstance(
            module, (DiscreteLayer, Activation, Pixels, Quantize)
        )
        return ours or super().is_leaf_module(module, name)

    def create_args_for_root(self, root_fn, is_module, concrete_args=None):
        """One input; further arguments of forward, targets for example, keep their defaults."""
        return root_fn, [self.root, self.create_proxy("placeholder", "input", (), {})]

    def to_bool(self, obj: fx.Proxy) -> bool:
        """What a condition on shapes is, in `if` and `assert`, if it is so in every batch; others are refused."""
        if _of_shapes(obj.node):
            found = {self._value(obj.node, batch) for batch in (2, 3)}
            if len(found) == 1:
                return found.pop()
        return super().to_bool(obj)

    @torch.no_grad()
    def _value(self, node: fx.Node, batch: int) -> bool:
        """By running the graph so far, which must not be traced itself."""
        graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
        graph.graph_copy(self.graph, copies)
        graph.output(copies[node])
        samples = torch.from_numpy(compare.inputs(self.source)[:batch])
        self.looking = True
        try:
            return bool(fx.GraphModule(self.root, graph)(samples))
        finally:
            self.looking = False

    def call_module(self, m, forward, args, kwargs):
        return forward(*args, **kwargs) if self.looking else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr, attr_val, parameter_proxy_cache):
        return attr_val if self.looking else super().getattr(attr, attr_val, parameter_proxy_cache)


def _of_shapes(node: fx.Node) -> bool:
    """Whether a node depends on the shapes of tensors alone."""
    if node.op == "call_method" and node.target in SIZES:
        return True
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in SHAPES
    plain = getattr(node.target, "__module__", None) in (operator.__name__, "_operator", "builtins", "math")
    return plain and all(_of_shapes(given) for given in node.all_input_nodes)
