"""What torch puts around a model."""

from __future__ import annotations

from typing import cast

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, DataParallel and what `torch.compile` returns, however nested."""
    while True:
        if isinstance(model, (DistributedDataParallel, DataParallel)):
            model = model.module
        elif "_orig_mod" in model._modules:  # torch.compile's; its class is slow to import
            model = cast(nn.Module, model._orig_mod)
        else:
            return model
