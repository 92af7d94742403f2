"""Random draws of stochastic rounding and moves: a counter-based stream, the same on every device, in any order of use.

Draw i of the stream with a 64-bit key is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) at counter i:

    z = key + (i + 1) * 0x9E3779B97F4A7C15              (all modulo 2^64)
    z = (z xor z >> 30) * 0xBF58476D1CE4E5B9
    z = (z xor z >> 27) * 0x94D049BB133111EB
    u = ((z xor z >> 31) >> 40) * 2^-24                 24 bits, uniform in [0, 1), exact in float32
"""

from __future__ import annotations

import torch

GAMMA = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def _signed(z: int) -> int:
    """The int64 with the same 64 bits."""
    z &= _MASK
    return z - 2**64 if z >= 2**63 else z


def _xor_shift(z: torch.Tensor, bits: int) -> torch.Tensor:
    return z ^ ((z >> bits) & (2 ** (64 - bits) - 1))  # masked: int64 would shift the sign in


def uniform(key: int, count: int, device: torch.device | None = None) -> torch.Tensor:
    """float32 [count]: the first draws of the stream with this key, uniform in [0, 1)."""
    z = torch.arange(1, count + 1, dtype=torch.int64, device=device) * _signed(GAMMA) + _signed(key)
    z = _xor_shift(z, 30) * _signed(0xBF58476D1CE4E5B9)
    z = _xor_shift(z, 27) * _signed(0x94D049BB133111EB)
    return (((_xor_shift(z, 31)) >> 40) & 0xFFFFFF).to(torch.float32) * 2.0**-24


def subkey(key: int, number: int) -> int:
    """The key of an independent stream: one of its own for every parameter of a step."""
    z = (key ^ (number + 1) * 0xD1342543DE82EF95) & _MASK
    z = (z ^ z >> 32) * 0xD6E8FEB86659FD93 & _MASK
    z = (z ^ z >> 32) * 0xD6E8FEB86659FD93 & _MASK
    return z ^ z >> 32
