"""Real weights to the nearest states of Z_N, in PyTorch; `gxnor.space` does the same in NumPy."""

from __future__ import annotations

import torch

from gxnor.space import DiscreteSpace


def levels(w: torch.Tensor, space: DiscreteSpace) -> torch.Tensor:
    """Levels of the nearest states, as float: `DiscreteSpace.nearest`, computed in the precision of w."""
    if space.N == 0:
        return (w >= 0).to(w.dtype) * 2 - 1
    distance = (w.abs() / space.step).clamp_(max=space.denominator)
    level = torch.floor(distance)
    return torch.copysign(level + (distance - level >= 0.5), w)


def project(w: torch.Tensor, space: DiscreteSpace) -> torch.Tensor:
    """The value of the state nearest to each weight."""
    return levels(w, space) / space.denominator * space.H


def nearest(w: torch.Tensor, space: DiscreteSpace) -> torch.Tensor:
    """uint8 index of the state nearest to each weight."""
    level = levels(w, space)
    return ((level + 1) / 2 if space.N == 0 else level + space.denominator).to(torch.uint8)


def best_scale(w: torch.Tensor, space: DiscreteSpace, iterations: int = 50) -> float:
    """The s > 0 whose scaled states come closest to w: least || w - s project(w / s) ||^2.

    This is the objective of Ternary Weight Networks (Li et al., arXiv 1605.04711, section 2). Found by turns, as in Lloyd's
    quantizer: the nearest states q for the s so far, then the best s for this q, <w, q> / <q, q>; no turn raises the error.
    The start is, for ternary, twice the paper's threshold 0.7 mean|w|, and grows with N as the best range of normally
    distributed weights does; or, where that is closer, one that makes a state of the largest |w|: so weights that are s
    times states already are met exactly. Returns 1 for weights that are all zero.
    """
    w = w.detach().float()
    largest = w.abs().max().item() if w.numel() else 0.0
    if largest == 0:
        return 1.0
    w = w / largest  # squares of weights as small as float32 has them are numbers, too
    starts = [1.4 * (1 + 0.4 * max(space.N - 1, 0)) * w.abs().mean().item()]
    starts += [space.denominator / (level * space.H) for level in range(1, space.denominator + 1)]
    s = min(starts, key=lambda s: (w - s * project(w / s, space)).square().sum().item())
    for _ in range(iterations):
        q = project(w / s, space)
        before, s = s, ((w * q).sum() / (q * q).sum()).item()
        if abs(s - before) <= 1e-5 * s:
            break
    return s * largest
