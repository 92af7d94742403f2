"""Traces a model and runs it on the builder, so that every operation adds its layers to the program or is refused."""

from __future__ import annotations

import copy
import inspect
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path

import numpy as np
import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

from gxnor.errors import GxnorError
from gxnor.exporter import compare
from gxnor.exporter.builder import Builder
from gxnor.exporter.operations import FUNCTIONS, METHODS, MODULES, instead
from gxnor.exporter.tensors import UNKNOWN, Call, Grouped, Tensor, Unknown, tensor
from gxnor.exporter.tracer import Tracer
from gxnor.nn.activation import phi
from gxnor.nn.unwrap import unwrap
from gxnor.program import Input, Program
from gxnor.space import DiscreteSpace

Classes = Sequence[str] | int


def export(
    model: nn.Module,
    input_shape: Sequence[int],
    classes: Classes | Mapping[str, Classes] | Sequence[Classes],
    space: DiscreteSpace | None = None,
    samples: np.ndarray | None = None,
) -> Program:
    """The integer program of a model with discrete weights and activations, latent weights by their projected states.

    Every integer and every state of the program is what PyTorch's evaluation on a CPU computes in float32; logits are
    equal but for their rounding. Only where PyTorch rounds its sums, the program is more exact than the model, and a
    RuntimeWarning names the layers: after an average over a number that is not a power of two, with a weight range H that
    is not one either, and with sums that can exceed 2^24. Whatever is exported was compared with the model, layer by layer.

    Args:
        model: made of gxnor's layers, activations and `Pixels`, and of torch's BatchNorm, max and average pooling,
            Flatten, Dropout, Identity and containers; or any model of yours that computes with these, residual sums and
            functional forms. What torch.compile, DataParallel or DistributedDataParallel have wrapped is taken out. It is
            left as it is.
        input_shape: of one sample, (C, H, W), (C, L) or (F,).
        classes: a name for every class, or their number: the names are then "0", "1", ... Of a model that returns a dict,
            or a tuple, of several scores: a dict, or a list, with such an entry for each.
        space: None where the model takes uint8 pixels and begins with `Pixels`; else it takes values of this space, and
            the program their state indices.
        samples: uint8 pixels, state indices or, after `Quantize`, real numbers (batch, *input_shape) to
            compare the program with the model on, besides the few that are made up.

    Raises GxnorError that names every part of the model that no integer program can compute, and why, and where the
    program that was traced computes something else than the model.
    """
    if not isinstance(input_shape, tuple | list | torch.Size) or not input_shape:
        raise GxnorError(f"expected the shape of one sample, (C, H, W), (C, L) or (F,), got {input_shape!r:.60}")
    source = Input(tuple(map(int, input_shape)), space)
    model = copy.deepcopy(unwrap(model)).cpu().float().eval()
    build = _build(model, source)
    for note in build.warnings():
        warnings.warn(note, RuntimeWarning, stacklevel=2)
    names = _class_names(classes, list(build.outputs))
    program = Program(build.source, tuple(build.layers), names, output_names=build.output_names)
    seen = compare.inputs(build.source)
    if samples is not None:
        program.input.integers(samples)  # refuses what does not fit
        seen = np.concatenate([seen, np.asarray(samples).astype(seen.dtype)])
    compare.compare(model, program, build, seen)
    return program


def _class_names(classes, outputs: list[str]) -> tuple[str, ...]:
    """Of all outputs, one after the other."""
    if len(outputs) == 1 and not isinstance(classes, Mapping):
        return tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    if isinstance(classes, list | tuple):
        classes = dict(zip(map(str, range(len(classes))), classes, strict=True))
    if not isinstance(classes, Mapping) or {*classes} != {*outputs}:
        example = ", ".join(f"{name!r}: 10" for name in outputs)
        raise GxnorError(f"expected the classes of every output, {{{example}}} for example, got {classes!r:.60}")
    return tuple(name for output in outputs for name in _class_names(classes[output], [output]))


def _build(model: nn.Module, source: Input) -> Builder:
    """The layers of a model's program. Raises GxnorError that names all that no program computes."""
    walk = trace(model, source)
    if walk.refused:
        raise GxnorError(f"cannot export: {'; '.join(walk.refused)}")
    walk.build.prune()
    return walk.build


def trace(model: nn.Module, source: Input) -> Walk:
    """The walk over a model in evaluation mode, done. Raises GxnorError where torch.fx cannot trace it."""
    _check_one_input(model)
    try:
        traced = fx.GraphModule(model, Tracer(source).trace(model))
    except Exception as error:  # whatever the model's own code raises
        raise GxnorError(
            f"cannot export: torch.fx cannot trace the model{_line(error)}: {error!s:.200}: expected a forward that takes "
            "the same way for every input: its shapes may decide, its values and the size of the batch may not"
        ) from error
    walk = Walk(traced, Builder(source))
    walk.run()
    return walk


def _check_one_input(model: nn.Module) -> None:
    needed = [
        name
        for name, given in inspect.signature(model.forward).parameters.items()
        if given.default is given.empty and given.kind not in (given.VAR_POSITIONAL, given.VAR_KEYWORD)
    ]
    if len(needed) > 1:
        raise GxnorError(
            f"cannot export: forward takes {', '.join(needed)}: expected one input, for a program has one: join them into "
            "one tensor and take it apart in forward, x[:, :3] and x[:, 3:]"
        )


def _line(error: Exception) -> str:
    """Where in the model's own code an error comes from."""
    others = {Path(torch.__file__).parent, Path(__file__).parent}
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not others & {*Path(frame.filename).parents}]
    return f" at {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""


@dataclass(frozen=True)
class Row:
    """A part of the model: its place, what it is, whether it is discrete or real, and what of a program it becomes."""

    place: str
    what: str
    is_: str
    becomes: str


def _live(graph: fx.Graph) -> set[fx.Node]:
    """What the output depends on, and what changes a tensor in place."""
    live: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or node in live or _changes(node):
            live.update((node, *node.all_input_nodes))
    return live


def _changes(node: fx.Node) -> bool:
    """Whether a node is seen to change a tensor in place: `x.add_(y)`, F.relu(x, inplace=True), torch.add(x, y, out=z).
    torch.fx takes `x += y` for x = x + y."""
    if node.op == "call_method":
        name = str(node.target)
        return name.endswith("_") and not name.endswith("__")
    return node.op == "call_function" and (bool(node.kwargs.get("inplace")) or "out" in node.kwargs)


class Walk(fx.Interpreter):
    """Runs a traced model on `Tensor`s. `refused` collects what no program can compute, in order, once each."""

    def __init__(self, model: fx.GraphModule, build: Builder):
        super().__init__(model, garbage_collect_values=False)
        self.build = build
        self.live = _live(model.graph)
        self.refused: dict[str, None] = {}
        self.rows: list[Row] = []

    def run_node(self, node: fx.Node):
        self.build.at = _place(node)
        self.build.ends = all(user.op == "output" for user in node.users)
        if node not in self.live and node.op != "placeholder":
            module = self.fetch_attr(str(node.target)) if node.op == "call_module" else None
            if module is not None or node.target is phi:
                self.build.calls.append(Call(self.build.at, module))
            return UNKNOWN
        reason, before = "", len(self.build.layers)
        try:
            result = super().run_node(node)
        except Unknown:
            result = UNKNOWN
        except (GxnorError, TypeError) as error:  # a TypeError: arguments that the operation does not know
            self.refused[f"{self.build.at}: {error}"] = None
            reason, result = f"refused: {error}", UNKNOWN
        if node.op.startswith("call_") and (isinstance(result, Tensor) or reason):
            self.rows.append(self._row(node, result, reason or self._becomes(result, before)))
        if _changes(node) and node.args and isinstance(node.args[0], fx.Node):
            self.env[node.args[0]] = result
        return result

    def _row(self, node: fx.Node, result, becomes: str) -> Row:
        module = self.fetch_attr(str(node.target)) if node.op == "call_module" else None
        what = type(module).__name__ if module else self.build.at.rpartition(": ")[2]
        if not isinstance(result, Tensor):
            return Row(self.build.at, what, "", becomes)
        value, real = self.build.values[result.number], bool(result.norms)
        kind = "real" if real else f"states of Z_{value.space.N}" if value.space else "integers"
        return Row(self.build.at, what, kind, becomes)

    def _becomes(self, result: Tensor, before: int) -> str:
        if result.last:
            return "left out: the program gives the scores before it"
        if made := [type(layer).__name__ for layer in self.build.layers[before:]]:
            return ", ".join(made)
        return "waits for the activation or the scores" if result.norms or result.later else "nothing to do"

    def placeholder(self, target, args, kwargs) -> Tensor:
        return self.build.input()

    def call_module(self, target, args, kwargs):
        module = self.fetch_attr(target)
        for name, t in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if t.is_floating_point() and not torch.isfinite(t).all():
                raise GxnorError(f"its {name} is not finite")
        for kinds, operation in MODULES.items():
            if isinstance(module, kinds):
                made = operation(self.build, *args, module, **kwargs)
                self.build.calls.append(Call(self.build.at, module, args[0], made))
                return made
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            raise GxnorError(
                f"{type(module).__name__} has real weights: gxnor.nn.discretize(model) makes them discrete"
            )
        name = type(module).__name__
        if type(module).__module__ == nn.ReLU.__module__:
            raise GxnorError(f"{name} is a real activation: gxnor.nn.discretize(model) makes it gxnor.nn.Activation()")
        raise GxnorError(f"{name} is not an operation of an integer program{instead(name)}")

    def call_function(self, target, args, kwargs):
        given = tree_leaves((args, kwargs))
        if not any(x is UNKNOWN or isinstance(x, Tensor | Grouped) for x in given):
            return super().call_function(target, args, kwargs)  # sizes and other plain numbers
        if isinstance(target, type) and (issubclass(target, tuple) or is_dataclass(target)):
            return target(*args, **kwargs)  # outputs with names
        if kwargs.get("out") is not None:
            raise GxnorError("expected no out=, which changes another tensor")
        if target in FUNCTIONS:
            made = FUNCTIONS[target](self.build, *args, **kwargs)
            if target is phi:
                self.build.calls.append(Call(self.build.at, None, tensor(args[0]), made))
            return made
        if any(x is UNKNOWN for x in given) and getattr(target, "__module__", None) in ("_operator", "builtins"):
            raise Unknown  # arithmetic with the sizes of something refused
        raise GxnorError(f"no operation of an integer program{instead(getattr(target, '__name__', ''))}")

    def call_method(self, target, args, kwargs):
        given = tree_leaves((args, kwargs))
        if not any(x is UNKNOWN or isinstance(x, Tensor | Grouped) for x in given):
            return super().call_method(target, args, kwargs)  # of constants and sizes
        if target not in METHODS:
            raise GxnorError(f"no operation of an integer program{instead(target)}")
        return METHODS[target](self.build, *args, **kwargs)

    def output(self, target, args, kwargs) -> None:
        outputs = compare.outputs_of(args[0])
        self.build.finish({name: tensor(x) for name, x in outputs.items()})


def _place(node: fx.Node) -> str:
    """Where in the model a node is: the path of its module, and the function that is called there."""
    if node.op == "call_module":
        return str(node.target)
    path = [*node.meta.get("nn_module_stack", {})][-1:]
    return ": ".join([*filter(None, path), getattr(node.target, "__name__", str(node.target))])
