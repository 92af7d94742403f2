"""Recorders that would take a discrete network for something else are refused."""

from __future__ import annotations

import torch

from gxnor.errors import GxnorError


def refuse_recording() -> None:
    """Raises GxnorError under torch.jit.trace and torch.onnx.export: they record PyTorch's own operations alone, and the
    states that the kernels compute would be constants in what they write."""
    if torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        raise GxnorError(
            "torch.onnx.export and torch.jit.trace cannot record discrete layers: what they write would compute something "
            "else. Use gxnor.export(model, input_shape, classes), whose program `gxnor.load` runs without PyTorch"
        )
