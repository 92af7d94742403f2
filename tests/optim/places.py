"""Weights at given places of their counters' lattice, and the places at which weights are (gxnor/optim/counter.py)."""

import torch

from gxnor.nn import DiscreteParameter
from gxnor.nn.codes import pack_indices
from gxnor.optim.counter import pack_counters, unpack_counters
from gxnor.packing import storage_bits
from gxnor.space import DiscreteSpace

CELLS = torch.tensor(
    [0, 1, 3, 2], dtype=torch.uint8
)  # the code of each cell with a split zero, and the cell of each code


def weight_at(
    place: torch.Tensor, space: DiscreteSpace, bits: int, split_zero: bool
) -> tuple[DiscreteParameter, torch.Tensor | None]:
    """A weight and its counters, None where these have no bits; `place` is uint8 of the weight's shape."""
    cells = place >> bits
    codes = CELLS[cells.long()] if split_zero else cells
    weight = DiscreteParameter(pack_indices(codes, storage_bits(space.size)), space, codes.shape)
    return weight, pack_counters(place & (2**bits - 1), bits) if bits else None


def place_of(weight: DiscreteParameter, counters: torch.Tensor | None, bits: int, split_zero: bool) -> torch.Tensor:
    """uint8, flat."""
    width = storage_bits(weight.space.size)
    columns = [(weight.packed >> shift) & (2**width - 1) for shift in range(0, 8, width)]
    codes = torch.stack(columns, dim=1).view(-1)[: weight.numel()]
    cells = CELLS[codes.long()] if split_zero else codes
    return (cells << bits) + unpack_counters(counters, bits, cells.shape) if bits else cells
