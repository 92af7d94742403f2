"""Counters: a few bits per weight in which the optimizer remembers increments too small to move a state.

A counter of b bits is a weight's place within the cell of its state, 0 .. 2^b - 1; `gxnor.optim.transition` moves it. The
state, packed in the model, and its counter, packed here, together are at most a byte per weight:

    states 2^N + 1 times 2^b places <= 256          b <= 7 for binary, 6 for ternary, 5 for five states, ... 0 for N = 7

Packed as a stream of bits: eight counters take b bytes, the first lowest.

A ternary weight takes two bits, four codes for three states. With `split_zero` the spare code goes to zero, whose cell is
then two, a lower half and an upper one. All four cells are as wide, 2^b places each, so that a counter of b bits is as fine
as one of b + 1 otherwise:

    cell   -1   lower 0   upper 0   1          place p of 0 .. 2^(b+2) - 1 lies at H (2 p + 1 - 2^(b+2)) / 2^(b+2)
    code    0      1         3      2          cell ^ (cell >> 1)
"""

from __future__ import annotations

import functools

import torch

from gxnor.nn.codes import unpack_indices
from gxnor.nn.parameter import DiscreteParameter
from gxnor.space import DiscreteSpace

PIECE = 1 << 14  # weights, a multiple of 8: keeps temporary tensors out of the memory bill


def most_bits(space: DiscreteSpace) -> int:
    """The bits of the largest counter that weights of this space can have."""
    return (256 // space.size).bit_length() - 1


def counter_bytes(count: int, bits: int) -> int:
    """Bytes that `count` counters take."""
    return -(-count // 8) * bits


def new_counters(weight: DiscreteParameter, bits: int, split_zero: bool = False) -> torch.Tensor:
    """uint8 [counter_bytes]: every weight in the middle of its state's cell (the highest state: below it, the last place
    inside)."""
    middle, last = 2**bits // 2, weight.space.size - 1
    if split_zero:
        places = torch.tensor([0, 2**bits - 1, 2**bits - 1, 0], dtype=torch.uint8, device=weight.device)
        codes = unpack_indices(weight.packed, 2, weight.shape).view(-1).split(PIECE)
        return torch.cat([pack_counters(places[piece.int()], bits) for piece in codes])
    pieces = weight.indices().view(-1).split(PIECE)
    return torch.cat([pack_counters(middle - (piece == last).to(torch.uint8), bits) for piece in pieces])


def pack_counters(counters: torch.Tensor, bits: int) -> torch.Tensor:
    """uint8 counters of any shape, below 2^bits, flat and in C order -> uint8 [counter_bytes]."""
    flat = counters.reshape(-1)
    eights = torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).view(-1, 8).long()
    words = functools.reduce(torch.add, (eights[:, i] << (i * bits) for i in range(8)))
    return torch.stack([(words >> (8 * i)) & 255 for i in range(bits)], dim=1).to(torch.uint8).view(-1)


def unpack_counters(packed: torch.Tensor, bits: int, shape: torch.Size) -> torch.Tensor:
    """The inverse of `pack_counters`: uint8 of the given shape."""
    columns = packed.view(-1, bits).long()
    words = functools.reduce(torch.add, (columns[:, i] << (8 * i) for i in range(bits)))
    eights = torch.stack([(words >> (i * bits)) & (2**bits - 1) for i in range(8)], dim=1)
    return eights.to(torch.uint8).view(-1)[: shape.numel()].view(shape)
