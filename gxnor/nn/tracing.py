"""What records a model: torch.fx sees a discrete layer as one node, torch.func reads its weights as floats, and recorders
that would take a discrete network for something else are refused."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from gxnor.errors import GxnorError


def refuse_recording() -> None:
    """Raises GxnorError under torch.jit.trace and torch.onnx.export: they record PyTorch's own operations alone, and the
    states that the kernels compute would be constants in what they write."""
    if torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        raise GxnorError(
            "torch.onnx.export and torch.jit.trace cannot record discrete layers: what they write would compute something "
            "else. Use gxnor.export(model, input_shape, classes), whose program `gxnor.load` runs without PyTorch and "
            "`gxnor export FILE --to onnx` writes as ONNX"
        )


def refuse_scripting(module: nn.Module) -> None:
    """What torch.jit.script calls. Raises GxnorError."""
    raise GxnorError(
        f"torch.jit.script cannot compile {type(module).__name__}: use torch.compile, or "
        "gxnor.export(model, input_shape, classes), whose program `gxnor.load` runs without PyTorch"
    )


def is_symbolic(x) -> bool:
    """Whether x stands for a tensor while torch.fx traces."""
    return isinstance(x, fx.Proxy)


def as_node(module: nn.Module, x) -> Any:
    """The module as one node of the graph, as torch.fx takes torch's own layers."""
    return x.tracer.create_proxy("call_module", x.tracer.path_of_module(module), (x,), {})


def is_transformed() -> bool:
    """Whether torch.func's grad, vmap and the like are at work, which see through PyTorch's own operations alone."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()
