"""The exact small form of a tensor: what backward needs of a discrete network, held in its true size.

Activations and convolution sums of discrete networks are small multiples of a power of two. A tensor of which this is
true, to the bit, is held as integers m with x = m 2^-e, 0 <= e <= 12: in 1 bit (m = -1 or 1), 2 bits (|m| <= 1), 4 bits
(|m| <= 7), int8 or int16. Any other tensor is held as it is. Nothing is assumed about where a tensor comes from: all its
values are looked at.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gxnor import native
from gxnor.nn.parameter import look_up, pack_indices, unpack_indices

SLICE = 4 * 2**20  # bytes of a large tensor that an operation on the CPU works on at a time
GRID = 12  # the largest e
LARGEST = 2.0**18  # the largest |x|
TOPS = {1: 1, 2: 1, 4: 7, 8: 127, 16: 32767}  # bits -> the largest |m|

state = threading.local()  # state.on is set by gxnor.nn.small_activations


def is_on() -> bool:
    """Whether a forward pass that runs now saves small."""
    return getattr(state, "on", False) and torch.is_grad_enabled() and not torch.compiler.is_compiling()


@dataclass(frozen=True)
class Form:
    """How a tensor is held, and the way back. bits = 0: as it is."""

    bits: int
    exponent: int
    shape: torch.Size
    strides: tuple[int, ...]
    dtype: torch.dtype

    def whole(self, data: torch.Tensor) -> torch.Tensor:
        """The tensor, from what holds it."""
        return self.rows(data, 0, self.shape[0]) if self.bits else data

    def rows(self, data: torch.Tensor, begin: int, end: int) -> torch.Tensor:
        """The part [begin:end] of the tensor's first dimension; begin is a multiple of 8."""
        if not self.bits:
            return data[begin:end]
        shape = (end - begin, *self.shape[1:])
        x = torch.empty_strided(shape, self.strides, dtype=self.dtype, device=data.device)
        if self.bits >= 8:
            x.copy_(data[begin:end])
            return x.mul_(2.0**-self.exponent) if self.exponent else x
        size = self.shape[1:].numel() * self.bits
        packed = data[begin * size // 8 : (end * size + 7) // 8]
        return unpack(packed, self.bits, tuple(m * 2.0**-self.exponent for m in _levels(self.bits)), x)

    def channels(self, data: torch.Tensor, begin: int, end: int) -> torch.Tensor:
        """The part [begin:end] of the tensor's second dimension, dense, in the tensor's memory format; at least 8 bits."""
        x = data[:, begin:end].to(self.dtype).contiguous(memory_format=memory_format(data))
        return x.mul_(2.0**-self.exponent) if self.exponent else x


def small(x: torch.Tensor, least: int = 1) -> tuple[torch.Tensor, Form]:
    """What holds x, in at least `least` bits a value, and its form. That is x itself where it has no exact small form,
    is no dense float32 or float64 tensor of two dimensions or more, or where saving small is off."""
    x = x.detach()
    as_it_is = x, Form(0, 0, x.shape, x.stride(), x.dtype)
    if not is_on() or type(x) is not torch.Tensor or x.dtype not in (torch.float32, torch.float64):
        return as_it_is
    if x.dim() < 2 or x.numel() == 0 or not is_dense(x):
        return as_it_is
    found = _find_levels(x)
    if found is None:
        return as_it_is
    exponent, largest, zeros = found
    least = max(least, 2 if zeros else 1)
    bits = next((bits for bits, top in TOPS.items() if bits >= least and largest <= top), 0)
    if not bits:
        return as_it_is
    return _pack(x, bits, exponent), Form(bits, exponent, x.shape, x.stride(), x.dtype)


def refuse_double_backward(form: Form | None = None) -> None:
    """Raises RuntimeError in a backward pass that is itself to be differentiated, where float tensors were not saved."""
    if torch.is_grad_enabled() and (form is None or form.bits):
        raise RuntimeError("small_activations saves no tensors for create_graph=True; run the forward pass without it")


def levels_reference(x: torch.Tensor) -> tuple[int, int, bool] | None:
    """(e, the largest |m|, whether an m is 0) for the least e <= 12 with which x = m 2^-e; None where there is none, where
    a value is beyond 2^18, and where one is -0, which no integer stands for."""
    largest, zero = x.abs().amax().item(), x == 0
    if not largest <= LARGEST or (zero & torch.signbit(x)).any():
        return None
    for exponent in range(GRID + 1):
        m = x * 2.0**exponent
        if torch.equal(m, m.round()):
            return exponent, int(largest * 2**exponent), bool(zero.any())
    return None


def unpack(packed: torch.Tensor, bits: int, values: tuple[float, ...], out: torch.Tensor) -> torch.Tensor:
    """Fills the dense tensor `out`, in the order of its memory, with values[index] of packed indices, and returns it."""
    if not look_up(packed, bits, values, out):
        index = unpack_indices(packed, bits, torch.Size([out.numel()]), torch.int64)
        in_memory_order(out).copy_(torch.tensor(values, dtype=out.dtype, device=out.device)[index])
    return out


def slices(count: int, size: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """(begin, end) of the parts in which `count` rows or channels of `size` bytes each are worked on: on the CPU about
    SLICE bytes, but 8 rows at least, begins being multiples of 8. They depend on sizes alone, so that sums over a batch
    are taken in the same order whatever is saved."""
    step = max(8, SLICE // size // 8 * 8) if device.type == "cpu" else count
    return ((begin, min(begin + step, count)) for begin in range(0, count, step))


def is_dense(x: torch.Tensor) -> bool:
    """Whether memory holds one row of x after the other, without gaps."""
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))


def memory_format(x: torch.Tensor) -> torch.memory_format:
    """Of a dense tensor; contiguous where it is both."""
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


def in_memory_order(x: torch.Tensor) -> torch.Tensor:
    """The elements of a dense tensor as one dimension, sharing its memory."""
    return x.as_strided((x.numel(),), (1,))


def _levels(bits: int) -> tuple[int, ...]:
    return (-1, 1) if bits == 1 else tuple(range(-TOPS[bits], TOPS[bits] + 1))


def _find_levels(x: torch.Tensor) -> tuple[int, int, bool] | None:
    """`levels_reference`, by the native kernel where it applies."""
    lib = _native() if x.device.type == "cpu" and x.dtype == torch.float32 else None
    if lib is None:
        return levels_reference(x)
    found = (ctypes.c_int32 * 3)()
    if not lib.gxnor_find_levels(x.data_ptr(), x.numel(), found, torch.get_num_threads()):
        return None
    either, largest, zeros = found
    exponent = GRID - min(GRID, (either & -either).bit_length() - 1) if either else 0
    return exponent, largest >> (GRID - exponent), bool(zeros)


def _pack(x: torch.Tensor, bits: int, exponent: int) -> torch.Tensor:
    """int8 or int16 like x, or the bits of its levels' indices, in the order of its memory."""
    if bits >= 8:
        m = torch.empty_strided(x.shape, x.stride(), dtype=torch.int8 if bits == 8 else torch.int16, device=x.device)
        return m.copy_(x * 2.0**exponent if exponent else x)
    scale, offset = (2.0**exponent / 2, 0.5) if bits == 1 else (2.0**exponent, float(TOPS[bits]))
    lib = _native() if x.device.type == "cpu" and x.dtype == torch.float32 else None
    if lib is None:
        return pack_indices((in_memory_order(x) * scale + offset).to(torch.uint8), bits)
    packed = torch.empty((x.numel() * bits + 7) // 8, dtype=torch.uint8)
    lib.gxnor_pack_levels(
        x.data_ptr(), x.numel(), scale, offset, bits, packed.data_ptr(), torch.get_num_threads()
    )  # fmt: skip
    return packed


@functools.cache
def _native():
    """The kernels of native/saving.cpp, or None where they were not built."""
    lib = native.library()
    if lib is None:
        return None
    lib.gxnor_find_levels.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int]
    lib.gxnor_pack_levels.argtypes = [
        ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_float,  # x, n, scale, offset
        ctypes.c_int, ctypes.c_void_p, ctypes.c_int,  # bits, packed, threads
    ]  # fmt: skip
    lib.gxnor_pack_levels.restype = None
    return lib
