"""Traces a model and runs it on the builder, so that every operation adds its layers to the program or is refused."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

from gxnor.errors import GxnorError
from gxnor.exporter.builder import UNKNOWN, Builder, Tensor, Unknown, tensor
from gxnor.exporter.operations import FUNCTIONS, METHODS, MODULES
from gxnor.nn.activation import Activation, phi
from gxnor.nn.layers import DiscreteLayer
from gxnor.nn.networks import Pixels
from gxnor.program import Input, Program, reference
from gxnor.space import DiscreteSpace


def to_program(
    model: nn.Module, input_shape: tuple[int, ...], classes: Sequence[str], space: DiscreteSpace | None = None
) -> Program:
    """The integer program of a model with discrete weights and activations, latent weights by their projected states.

    Every integer and every state of the program is what PyTorch's evaluation on a CPU computes in float32; logits are
    equal but for their rounding. Only where PyTorch rounds its sums, the program is more exact than the model, and a
    RuntimeWarning names the layers: behind an average over a number that is no power of two, with a weight range H that
    is none, and with sums that can exceed 2^24.

    Args:
        model: made of gxnor's layers, activations and `Pixels`, and of torch's BatchNorm, max and average pooling,
            Flatten, Dropout, Identity and containers; or any model of yours that computes with these, residual sums and
            functional forms. It is left as it is.
        input_shape: of one sample, (C, H, W), (C, L) or (F,).
        classes: a name for every output.
        space: None where the model takes uint8 pixels and begins with `Pixels`; else it takes values of this space, and
            the program their state indices.

    Raises GxnorError that names every part of the model that no integer program can compute, and why.
    """
    model = copy.deepcopy(model).cpu().float().eval()
    try:
        traced = fx.GraphModule(model, _Tracer(autowrap_functions=(phi,)).trace(model))
    except Exception as error:  # whatever the model's own code raises
        raise GxnorError(f"cannot export: torch.fx cannot trace the model: {error!s:.200}") from error
    traced.graph.eliminate_dead_code()
    build = Builder(Input(tuple(input_shape), space))
    walk = _Walk(traced, build)
    walk.run()
    if walk.refused:
        raise GxnorError(f"cannot export: {'; '.join(walk.refused)}")
    if build.rounded:
        warnings.warn(
            f"PyTorch rounds the sums of {', '.join(build.rounded)}, the program does not: predictions can differ "
            "where two states or classes nearly tie",
            RuntimeWarning,
            stacklevel=2,
        )
    program = Program(build.source, tuple(build.layers), tuple(classes))
    if not build.rounded:
        _verify(model, program)
    return program


@torch.no_grad()
def _verify(model: nn.Module, program: Program) -> None:
    """Compares logits on random input: a model can do what tracing does not see, such as to change a tensor in place."""
    space = program.input.space
    x = np.random.default_rng(0).integers(space.size if space else 256, size=(2, *program.input.shape), dtype=np.uint8)
    expected = model(torch.from_numpy(space.value(x) if space else x)).numpy()
    last, sums = program.layers[-1], program.values[-1].bound
    if (np.abs(reference.run(program, x) - expected) > 1e-5 * (np.abs(last.scale) * sums + np.abs(last.bias))).any():
        raise GxnorError(
            "cannot export: the program that was traced computes something else than the model; expected one without hooks, "
            "without tensors changed in place, and with forward depending on nothing but the input"
        )


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        ours = type(module).__module__.startswith("gxnor.nn.") and isinstance(
            module, (DiscreteLayer, Activation, Pixels)
        )
        return ours or super().is_leaf_module(module, name)


class _Walk(fx.Interpreter):
    """Runs a traced model on `Tensor`s. `refused` collects what no program can compute, in order, once each."""

    def __init__(self, model: fx.GraphModule, build: Builder):
        super().__init__(model)
        self.build = build
        self.refused: dict[str, None] = {}
        self.inputs = 0

    def run_node(self, node: fx.Node):
        self.build.at = _place(node)
        try:
            return super().run_node(node)
        except Unknown:
            pass
        except (GxnorError, TypeError) as error:  # a TypeError: arguments that the operation does not know
            self.refused[f"{self.build.at}: {error}"] = None
        return UNKNOWN

    def placeholder(self, target, args, kwargs) -> Tensor:
        self.inputs += 1
        if self.inputs > 1:
            raise GxnorError("expected a model with one input")
        return self.build.input()

    def call_module(self, target, args, kwargs):
        module = self.fetch_attr(target)
        for kinds, operation in MODULES.items():
            if isinstance(module, kinds):
                return operation(self.build, *args, module, **kwargs)
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            raise GxnorError(f"{type(module).__name__} has real weights")
        if type(module).__module__ == nn.ReLU.__module__:
            raise GxnorError(f"{type(module).__name__} is a real activation")
        raise GxnorError(f"{type(module).__name__} is no operation of an integer program")

    def call_function(self, target, args, kwargs):
        given = tree_leaves((args, kwargs))
        if not any(x is UNKNOWN or isinstance(x, Tensor) for x in given):
            return super().call_function(target, args, kwargs)  # sizes and other plain numbers
        if target in FUNCTIONS:
            return FUNCTIONS[target](self.build, *args, **kwargs)
        if any(x is UNKNOWN for x in given) and getattr(target, "__module__", None) in ("_operator", "builtins"):
            raise Unknown  # arithmetic with the sizes of something refused
        raise GxnorError("no operation of an integer program")

    def call_method(self, target, args, kwargs):
        if target not in METHODS:
            raise GxnorError("no operation of an integer program")
        return METHODS[target](self.build, *args, **kwargs)

    def output(self, target, args, kwargs) -> None:
        self.build.finish(tensor(args[0]))


def _place(node: fx.Node) -> str:
    """Where in the model a node is: the path of its module, and the function that is called there."""
    if node.op == "call_module":
        return node.target
    path = [*node.meta.get("nn_module_stack", {})][-1:]
    return ": ".join([*filter(None, path), getattr(node.target, "__name__", str(node.target))])
