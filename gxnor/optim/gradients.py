"""Which gradients no increment can be made of, and which may be written to."""

from __future__ import annotations

import math

import torch


def find_wrong(gradients: list[tuple[str | int, torch.Tensor]]) -> str | None:
    """What is wrong with the first one that is, by name, or None.

    A gradient is to be finite, and the sum of its squares, of which the rules keep averages, is to be at most half of the
    largest number of its type (float32 for shorter ones)."""
    norms: dict[torch.device, list[torch.Tensor]] = {}
    for _, grad in gradients:
        dtype = torch.promote_types(grad.dtype, torch.float32)
        norm = torch.linalg.vector_norm(grad, dtype=dtype).double()
        norms.setdefault(grad.device, []).append(norm / math.sqrt(torch.finfo(dtype).max / 2))
    # Read together: a GPU then waits once, not once a parameter.
    if all(share <= 1 for values in norms.values() for share in torch.stack(values).tolist()):
        return None
    for name, grad in gradients:
        dtype = torch.promote_types(grad.dtype, torch.float32)
        if not torch.isfinite(grad).all():
            return f"the gradient of parameter {name} is not finite"
        if not torch.linalg.vector_norm(grad, dtype=dtype) <= math.sqrt(torch.finfo(dtype).max / 2):
            most = grad.abs().max().item()
            return f"the gradient of parameter {name} is too large: squares, up to {most:.0e}^2, add up beyond {dtype}"
    return None


def own(grad: torch.Tensor) -> torch.Tensor:
    """The gradient, to be written to while the backward pass goes on: a copy, where another tensor lies in the same memory.
    What is added to a view of a parameter has such a gradient, and may read it yet."""
    holders = torch._C._storage_Use_Count(grad.untyped_storage()._cdata)
    return grad if holders <= 2 else grad.clone()  # the tensor, and the storage asked here
