"""Running statistics of batch norm, which a forward pass changes before an optimizer can refuse what came of it."""

from __future__ import annotations

import torch
from torch import nn


class RunningStatistics:
    """The running statistics of a model's norms that are in training, as they were when `remember` was called."""

    def __init__(self, model: nn.Module):
        self._norms = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
        self._buffers: list[torch.Tensor] = []
        self._remembered: list[torch.Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        self._buffers = [buffer for m in self._norms if m.training for buffer in m.buffers(recurse=False)]
        self._remembered = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def restore(self) -> None:
        for buffer, before in zip(self._buffers, self._remembered, strict=True):
            buffer.copy_(before)
