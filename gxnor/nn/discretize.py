"""Turns a PyTorch model into one with discrete weights and activations.

    report = discretize(model)                              ternary weights and activations, in place
    report = discretize(model, PRECISIONS["bnn"], keep=("head", nn.PReLU))
    print(report)
    print(gxnor.check(model, (3, 32, 32)))                  what each part is exported as, or why it is refused
    optimizer = gxnor.optim.DST(model, lr=0.1)              with a falling learning rate: docs/own-model.md

Linear, Conv1d and Conv2d become the layers of `gxnor.nn`, activation modules become `gxnor.nn.Activation`; batch norm,
pooling, dropout, containers and the model's own Python code, residual additions for example, stay.

The states of a weight W are those nearest to W / s, where s is the layer's scale (`gxnor.nn.projection.best_scale`). The
scale is not kept: a batch norm after the layer absorbs it, and the bias with it (`gxnor.nn.rescaling`), so that in
evaluation mode only the rounding to states changes the norm's output. Without such a norm, the layer's results and its real
bias grow by 1 / s; the report says where.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gxnor.nn import graph
from gxnor.nn.activation import Activation
from gxnor.nn.convertible import ACTIVATIONS, LAYERS, RealLayer, own_parameters, problems_of
from gxnor.nn.layers import Conv1d, Conv2d, DiscreteLayer, Linear
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.precision import PRECISIONS, Precision
from gxnor.nn.projection import best_scale, nearest
from gxnor.nn.rescaling import Rescaling, rescaling
from gxnor.nn.unwrap import unwrap
from gxnor.space import DiscreteSpace

CHECK = (
    "call gxnor.check(model, input_shape) before training: it says what each part becomes in the exported program, or why "
    "it cannot be exported"
)


@dataclass(frozen=True)
class Line:
    """One module: its path in the model (all of them where it is shared), what it was, and what became of it."""

    path: str
    module: str
    remark: str


@dataclass(frozen=True)
class Report:
    """What `discretize` changed and what it left; `print(report)` shows it as a table.

    weights: number of weights that are discrete now. notes: what to know about the model as a whole.
    """

    changed: tuple[Line, ...]
    left: tuple[Line, ...]
    weights: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = (*self.changed, *self.left)
        widths = [max((len(getattr(line, field)) for line in lines), default=0) for field in ("path", "module")]

        def rows(title: str, lines: tuple[Line, ...]) -> list[str]:
            return [title] + [f"  {x.path:{widths[0]}}  {x.module:{widths[1]}}  {x.remark}" for x in lines]

        text = rows(f"changed: {len(self.changed)} modules, {self.weights:,} discrete weights", self.changed)
        text += rows(f"left: {len(self.left)} modules", self.left)
        text += [f"note: {note}" for note in self.notes]
        return "\n".join([*text, CHECK])


@torch.no_grad()
def discretize(
    model: nn.Module, precision: Precision | str = PRECISIONS["gxnor"], *, keep: Iterable[str | type] = ()
) -> Report:
    """Makes a model discrete, in place; see the module's text.

    Args:
        model: the model. Its layers are replaced, so make the optimizer afterwards.
        precision: spaces of weights and activations, or a name in `PRECISIONS`; a space of None leaves that kind as it is.
        keep: what to leave real: paths as in `model.named_modules()`, with all that is below them, and module types.

    Returns a report of what was changed and what was left. Raises ValueError, and leaves the model as it was, for modules
    and functions that have no discrete form and are not in `keep` (all of them are named, with the reason), for a name in
    `keep` that the model does not have, for a model that is itself one of the layers to replace, and where a layer's scale
    is too small for a bias or a norm to take it in.
    """
    if not isinstance(precision, Precision):
        if not isinstance(precision, str) or precision not in PRECISIONS:
            raise ValueError(f"expected a Precision or one of {', '.join(PRECISIONS)}, got {precision!r:.60}")
        precision = PRECISIONS[precision]
    if isinstance(model, nn.parallel.DistributedDataParallel):
        raise ValueError(
            "expected the model before it is wrapped, got a DistributedDataParallel, which holds the old weights"
        )
    model = unwrap(model)
    paths: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    kept = _kept(paths, (keep,) if isinstance(keep, (str, type)) else tuple(keep))
    visible = {m: where for m, where in paths.items() if not (m in kept or isinstance(m, (DiscreteLayer, Activation)))}
    layers = (
        [m for m in visible if isinstance(m, RealLayer) and type(m) in LAYERS] if precision.weights is not None else []
    )
    activations = [m for m in visible if type(m) in ACTIVATIONS] if precision.activations is not None else []
    forward, notes = _read(model, kept | {m for m in paths if type(m).__module__.startswith("gxnor.")})
    activations = [m for m in activations if m not in forward.outputs]

    problems = problems_of(visible, layers, activations, paths)
    if precision.activations is not None:
        problems += [
            f"{where or 'the model'}: calls {name}() as a function, which cannot be replaced; make it a module (nn.ReLU())"
            for where, name in dict.fromkeys(forward.functional)
        ]
    if problems:
        raise ValueError(
            "no discrete form for:\n  " + "\n  ".join(problems) + "\nkeep=(...) leaves modules real, by path or by type"
        )

    weights = {m.weight: _states(m.weight, precision, paths[m][0]) for m in layers}
    norms = {m: _rescalings(m, forward.norms.get(m, []), weights[m.weight][1], paths) for m in layers}
    replaced: dict[nn.Module, nn.Module] = {}
    remarks: dict[nn.Module, str] = {}
    for m in layers:
        replaced[m], remarks[m] = _layer(m, precision, *weights[m.weight], norms[m], paths)
    for module in activations:
        replaced[module], remarks[module] = precision.activation(), f"-> Activation Z_{precision.activations}"
    for old, new in replaced.items():
        new.train(old.training)
        for path in paths[old]:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, new)

    if forward.adds:
        where = ", ".join(path or "the model" for path in forward.adds)
        notes.append(f"additions in {where} stay: their sums are not states until the next activation")

    left = [m for m in paths if m not in replaced and (m in kept or not any(m.children()) or own_parameters(m))]
    for module in left:
        remarks[module] = (
            "kept as asked" if module in kept else "the model's output" if module in forward.outputs else ""
        )
        if any(module.children()) and own_parameters(module) and module not in kept:
            remarks[module] = f"its own parameters ({own_parameters(module)}) stay real"

    def lines(modules: Iterable[nn.Module]) -> tuple[Line, ...]:
        return tuple(Line(", ".join(paths[m]) or "the model", type(m).__name__, remarks[m]) for m in modules)

    weight_count = sum(weight.numel() for weight in weights)
    return Report(lines(m for m in paths if m in replaced), lines(left), weight_count, tuple(notes))


def _read(model: nn.Module, leaves: set[nn.Module]) -> tuple[graph.Forward, list[str]]:
    """What the forward pass does, or a note that it could not be seen."""
    try:
        return graph.read(model, leaves - {model}), []
    except Exception as error:  # torch.fx may run into anything that a user's forward pass can raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        note = f"the forward pass could not be traced ({reason}): "
        note += "activations that are functions were not looked for, and every bias was kept"
        return graph.Forward({}, [], [], set()), [note]


def _kept(paths: dict[nn.Module, list[str]], keep: tuple[str | type, ...]) -> set[nn.Module]:
    """The modules that `keep` names, and all below them."""
    names = {name for name in keep if isinstance(name, str)}
    types = tuple(kind for kind in keep if isinstance(kind, type))
    unknown = names - {path for where in paths.values() for path in where}
    if unknown:
        raise ValueError(f"keep names what the model does not have: {', '.join(sorted(unknown))}")
    top = [m for m, where in paths.items() if isinstance(m, types) or names.intersection(where)]
    return {below for m in top for below in m.modules()}


def _states(weight: torch.Tensor, precision: Precision, path: str) -> tuple[torch.Tensor, float]:
    """The discrete (or latent) parameter that takes the place of a real one, and its scale."""
    assert precision.weights is not None  # no layer is replaced without a space
    space = DiscreteSpace(precision.weights)
    if not torch.isfinite(weight).all():
        raise ValueError(f"{path}.weight is not finite")
    s = best_scale(weight, space)
    if precision.latent:
        return nn.Parameter((weight / s).clamp(-space.H, space.H), weight.requires_grad), s
    packed = DiscreteParameter.from_indices(nearest(weight / s, space), space).packed
    return DiscreteParameter(packed, space, weight.shape, weight.dtype, weight.requires_grad, weight.stride()), s


def _rescalings(m: RealLayer, norms: list[_BatchNorm], s: float, paths) -> dict[_BatchNorm, Rescaling]:
    """What becomes of the norms that take in the layer's scale and bias; none where the bias is to stay, grown."""
    taken = {}
    for norm in norms:
        if norm.num_features == m.weight.shape[0]:
            try:
                taken[norm] = rescaling(norm, m.bias, s)
            except ValueError as error:
                raise ValueError(f"{paths[m][0]}: {paths[norm][0]} cannot take in its scale: {error}") from None
    if not taken and m.bias is not None and not (m.bias.double() / s).abs().max() <= torch.finfo(m.bias.dtype).max:
        raise ValueError(f"{paths[m][0]}: its bias over its scale of {s:.3g} is beyond {m.bias.dtype}")
    return taken


def _layer(m: RealLayer, precision: Precision, weight, s: float, norms: dict, paths) -> tuple[nn.Module, str]:
    """The discrete layer for m, and what to say about it. Brings scale and bias into the norms."""
    options = {"bias": m.bias is not None and not norms, "device": m.weight.device, "dtype": m.weight.dtype,
               "N": precision.weights, "latent": precision.latent}  # fmt: skip
    new: DiscreteLayer
    if isinstance(m, nn.Linear):
        new = Linear(m.in_features, m.out_features, **options)
    else:
        convolution: type[Conv1d | Conv2d] = Conv1d if isinstance(m, nn.Conv1d) else Conv2d
        new = convolution(m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding, m.dilation, m.groups,
                          padding_mode=m.padding_mode, **options)  # fmt: skip
    new.weight = weight
    if new.bias is not None and m.bias is not None:
        new.bias.copy_(m.bias.double() / s).requires_grad_(m.bias.requires_grad)
    shape = " x ".join(map(str, m.weight.shape))
    remark = f"-> Z_{precision.weights} [{shape}], zeros {100 * new.zero_fraction():.1f} %, scale {s:.3g}"
    if not norms:
        remark += f"; no batch norm follows: results grow {1 / s:.3g}-fold" + ("" if m.bias is None else ", bias kept")
    elif m.bias is not None:
        remark += f"; bias taken in by {', '.join(paths[norm][0] for norm in norms)}"
    for norm, change in norms.items():
        if change.eps != norm.eps:
            remark += f"; eps of {paths[norm][0]} is {change.eps:.3g} now, which no state_dict holds"
        dtype = norm.running_var.dtype if norm.running_var is not None else torch.float32
        change.apply(norm)
        if norm.running_var is not None and norm.running_var.dtype != dtype:
            remark += f"; {paths[norm][0]} is float32 now"
    return new, remark
