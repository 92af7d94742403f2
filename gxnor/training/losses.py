"""Losses on scores [batch, classes] and labels int64 [batch]; both return the mean as a scalar."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F


def squared_hinge(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """mean of max(0, 1 - t s)^2 over batch and classes, with t = 1 for the label's class and -1 for the others."""
    targets = 2 * F.one_hot(labels, scores.shape[1]).to(scores.dtype) - 1
    return F.relu(1 - targets * scores).square().mean()


LOSSES: dict[str, Callable[..., torch.Tensor]] = {"squared-hinge": squared_hinge, "cross-entropy": F.cross_entropy}
