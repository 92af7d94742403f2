"""The arithmetic of a block of layers on integers: sums, max-pooling where there is one, batch norm, phi, and back.

The sums s are integers, so batch norm's statistics are exact, in whatever order they are taken. With per-channel
coefficients c0 .. c4, float32, made of them in float64 (`gxnor.nn.blocks`),

    forward     z = s c0 + c1,   y = phi(z)
    backward    g = dY' phi's window at z,   and the sums of g and of g s,   dY' being the gradient of y
                dS = g c2 + (s c3 + c4),   rounded by `integer.quantize`; with a pool each dS lies at the place of its
                maximum, and between them are zeros, which have draws but are not held

z and dS are recomputed wherever they are needed, never held: what is saved of a block is s in 16 bits, and a byte per
place. Tensors are contiguous, channels last: s [N, H, W, C], coefficients [5, C]. This is the reference of the kernels
that `gxnor.nn.integer_kernels` calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gxnor.nn import integer, pooling
from gxnor.nn.activation import phi_reference, window_reference
from gxnor.nn.integer import Geometry
from gxnor.space import DiscreteSpace

LARGEST = 2**15 - 1  # |s|
ROWS = 256  # whose sums are taken one after the other


@dataclass(frozen=True)
class Phi:
    """The activation's settings, see `gxnor.nn.Activation`."""

    N: int
    r: float
    H: float
    a: float
    window: str


Pool = tuple  # what pooling.forward_reference takes after its tensor: kernel, stride, padding, dilation, ceil_mode


@dataclass(frozen=True)
class Pooled:
    """Where the gradients of a pool's maxima lie."""

    pool: Pool
    place: torch.Tensor  # uint8 [N, H, W, C], each in its window
    size: tuple[int, ...]  # what (H, W) was before the pool

    def whole(self, q: torch.Tensor) -> torch.Tensor:
        """q of before the pool, zeros between, of q [N, H, W, C]."""
        whole = torch.zeros(q.shape[0], q.shape[3], self.size[0] * self.size[1], dtype=q.dtype, device=q.device)
        whole.scatter_(2, self._index(), q.permute(0, 3, 1, 2).flatten(2))
        return whole.unflatten(2, self.size).permute(0, 2, 3, 1).contiguous()

    def take(self, q: torch.Tensor) -> torch.Tensor:
        """The way back."""
        taken = q.permute(0, 3, 1, 2).flatten(2).gather(2, self._index())
        return taken.unflatten(2, self.place.shape[1:3]).permute(0, 2, 3, 1).contiguous()

    def images(self, begin: int, end: int) -> Pooled:
        return Pooled(self.pool, self.place[begin:end], self.size)

    def _index(self) -> torch.Tensor:
        return pooling.indices(self.place.permute(0, 3, 1, 2), self.size[1], *self.pool).flatten(2)


def sums(x: torch.Tensor, w: torch.Tensor, g: Geometry, pool: Pool | None):
    """(s int16, place uint8 or None, float64 [2, C]: the sums of s and of s^2) of x * W, see `integer.sums`."""
    y, place = integer.sums(x, w, g), None
    if pool is not None:
        y, place = pooling.forward_reference(y.permute(0, 3, 1, 2), *pool)
        y, place = (t.permute(0, 2, 3, 1).contiguous() for t in (y, place))
    rows = y.flatten(0, 2).double()
    return y.to(torch.int16), place, torch.stack((rows.sum(0), rows.square().sum(0)))


def states(c: torch.Tensor, s: torch.Tensor, phi: Phi) -> torch.Tensor:
    """int8 like s: phi(z) in steps from 0; binary: -1 or 1."""
    y = phi_reference(s.float() * c[0] + c[1], phi.N, phi.r, phi.H)
    return (y if phi.N == 0 else y / DiscreteSpace(phi.N).step).to(torch.int8)


def reduce(c: torch.Tensor, s: torch.Tensor, dy: torch.Tensor, phi: Phi) -> torch.Tensor:
    """float64 [2, C]: the sums of g and of g s, of 256 rows one after the other, and then of all these."""
    g = _g(c, s, dy, phi).double().flatten(0, -2)
    both = torch.stack((g, g * s.flatten(0, -2)))
    parts = torch.nn.functional.pad(both, (0, 0, 0, -both.shape[1] % ROWS)).unflatten(1, (-1, ROWS))
    return _one_after_the_other(_one_after_the_other(parts, 2), 1)


def round_gradient(c, s, dy, phi: Phi, bits: int, key: int, per: str, pooled: Pooled | None = None):
    """`integer.quantize` of dS; q is like s."""
    ds = _g(c, s, dy, phi) * c[2] + (s.float() * c[3] + c[4])
    if pooled is None:
        return integer.quantize(ds, bits, key, per)
    q, scale = integer.quantize(pooled.whole(ds), bits, key, per)
    return pooled.take(q), scale


def _g(c: torch.Tensor, s: torch.Tensor, dy: torch.Tensor, phi: Phi) -> torch.Tensor:
    return dy * window_reference(s.float() * c[0] + c[1], phi.N, phi.r, phi.H, phi.a, phi.window)


def _one_after_the_other(t: torch.Tensor, dim: int) -> torch.Tensor:
    """The sum along a dimension, in this order."""
    total = torch.zeros_like(t.select(dim, 0))
    for part in t.unbind(dim):
        total += part
    return total
