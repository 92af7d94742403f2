"""States in memory: packed codes of 1 bit (binary), 2 (ternary), 4 or 8 (multi-level), and the values they stand for.

A code is the index of its state, laid out as by `gxnor.packing.pack_bits`; ternary weights may have a second code for zero.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from gxnor import native
from gxnor.packing import check_bits, storage_bits, unpack_bits
from gxnor.space import DiscreteSpace


def pack_indices(indices: torch.Tensor, bits: int) -> torch.Tensor:
    """uint8 state indices of any shape -> uint8 [ceil(numel * bits / 8)], equal to `gxnor.packing.pack_bits`."""
    per_byte = 8 // bits
    flat = indices.reshape(-1)
    flat = torch.nn.functional.pad(flat, (0, -flat.numel() % per_byte)).view(-1, per_byte)
    packed = flat[:, 0].clone()
    for i in range(1, per_byte):
        packed |= flat[:, i] << (i * bits)
    return packed


def unpack_indices(packed: torch.Tensor, bits: int, shape: torch.Size, dtype=torch.uint8) -> torch.Tensor:
    """The inverse of `pack_indices`: the indices as a new tensor of the given shape and dtype."""
    columns = torch.empty(packed.numel(), 8 // bits, dtype=dtype, device=packed.device)
    for i in range(8 // bits):
        columns[:, i] = (packed >> (i * bits)) & (2**bits - 1)
    return columns.view(-1)[: shape.numel()].view(shape)


def one_code(packed: torch.Tensor, space: DiscreteSpace) -> torch.Tensor:
    """Packed codes as packed state indices. They are the same but for ternary weights, where code 3 stands for zero as 1
    does: `gxnor.optim.DST(split_zero=True)` tells the two apart, nobody else."""
    return packed & ~((packed & 0x55) << 1) if space.N == 1 else packed


def has_two_zeros(packed: torch.Tensor, space: DiscreteSpace) -> bool:
    """Whether there is a code among them that is not an index."""
    return not packed.is_meta and not torch.equal(one_code(packed, space), packed)


def check_codes(packed: torch.Tensor, space: DiscreteSpace, count: int, two_zeros: bool) -> None:
    """Raises ValueError unless these bytes are the packed codes of `count` weights, with both zeros only where they were
    said to have them: else a second zero is damage."""
    check_bits(packed.cpu().numpy(), 4 if two_zeros and space.N == 1 else space.size, count)


def dequantize_reference(packed: torch.Tensor, space: DiscreteSpace, shape: torch.Size, dtype) -> torch.Tensor:
    """The values of packed states by the formula of the space; any dtype and device."""
    index = unpack_indices(one_code(packed, space), storage_bits(space.size), shape, dtype)
    return index.mul_(2.0 ** (1 - space.N)).sub_(1).mul_(space.H)


@functools.cache
def _byte_values(values: tuple[float, ...], bits: int, dtype: type) -> np.ndarray:
    """dtype [256, states per byte]: the values that each packed byte stands for."""
    table = np.zeros(2**bits, dtype=dtype)
    table[: len(values)] = values
    return table[unpack_bits(np.arange(256, dtype=np.uint8), bits, 256 * 8 // bits)].reshape(256, -1)


def look_up(packed: torch.Tensor, bits: int, values: tuple[float, ...], out: torch.Tensor) -> bool:
    """Fills `out`, in the order of its memory, with values[index] of packed indices, by the native kernel; False, and
    nothing done, where it does not apply: float32 or int8 on the CPU, bytes that are really there."""
    real = type(packed) is torch.Tensor and packed.device.type == "cpu" and out.dtype in (torch.float32, torch.int8)
    library = native.library() if real else None
    if library is None:
        return False
    given, threads = (packed.data_ptr(), 8 // bits), torch.get_num_threads()
    if out.dtype == torch.float32:
        table = _byte_values(values, bits, np.float32)
        library.gxnor_unpack(*given, table.ctypes.data, out.data_ptr(), out.numel(), threads)
        return True
    table, rows = _byte_values(values, bits, np.int8), out.shape[0]
    sizes = rows, out.numel() // rows, 1
    return library.gxnor_unpack_levels(*given, table.ctypes.data, *sizes, out.data_ptr(), threads) == 0


@functools.cache
def _space_values(space: DiscreteSpace) -> tuple[float, ...]:
    return tuple(space.values.tolist())


def dequantize(packed: torch.Tensor, space: DiscreteSpace, shape: torch.Size, dtype) -> torch.Tensor:
    """`dequantize_reference`, by the native kernel where it applies."""
    out = torch.empty(shape, dtype=dtype, device=packed.device)
    if look_up(packed, storage_bits(space.size), _space_values(space), out):
        return out
    return dequantize_reference(packed, space, shape, dtype)


# An operator of its own while torch.compile traces: where it sees through to the bits, it works for minutes on the index
# of each byte in a channels-last weight (PyTorch 2.13, CPU).
@torch.library.custom_op(
    "gxnor::dequantize",
    mutates_args=(),
    schema="(Tensor packed, int N, float H, SymInt[] shape, ScalarType dtype) -> Tensor",
)
def dequantize_operator(packed, N, H, shape, dtype):
    return dequantize(packed, DiscreteSpace(N, H), torch.Size(shape), dtype)


@dequantize_operator.register_fake
def _(packed, N, H, shape, dtype):
    return packed.new_empty(shape, dtype=dtype)
