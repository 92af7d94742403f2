"""Scale and shift of batch norm, held near where they start.

They share the rate of the discrete weights, and follow Adam: with noisy gradients they walk at random, by lr sqrt(t) in t
steps. An activation that they have taken far from its thresholds has no gradient left that would bring it back.
"""

from __future__ import annotations

import torch
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def pull(model: torch.nn.Module, share: float) -> None:
    """Moves scale and shift of every hidden batch norm, in place, by a share in [0, 1] of their distance:

        scale <- scale + share (1 - scale)        shift <- (1 - share) shift

    The last batch norm, which makes the scores, stays as it is."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.affine]
    for norm in norms[:-1]:
        norm.weight.lerp_(torch.ones_like(norm.weight), share)
        norm.bias.mul_(1 - share)
