"""The exact small form of a tensor: what backward needs of a discrete network, held in its true size.

Activations and convolution sums of discrete networks are small multiples of a power of two. A tensor of which this is
true, to the bit, is held as integers m with x = m 2^-e, 0 <= e <= 12: in 1 bit (m = -1 or 1), 2 bits (|m| <= 1), 4 bits
(|m| <= 7), int8 or int16. Any other tensor is held as it is. Nothing is assumed about where a tensor comes from: all its
values are looked at.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gxnor import native
from gxnor.nn.codes import look_up, pack_indices, unpack_indices

SLICE = 4 * 2**20  # bytes of a large tensor that an operation on the CPU works on at a time
GRID = 12  # the largest e
LARGEST = 2.0**18  # the largest |x|
LOOK = 1024  # values at the start of a tensor that say what form to try first
TOPS = (1, 1), (2, 1), (4, 7), (8, 127), (16, 255), (16, 32767)  # bits, the largest |m|
INTEGERS = {8: torch.int8, 16: torch.int16}

state = threading.local()  # state.on is set by gxnor.nn.pack_saved_activations


def is_on() -> bool:
    """Whether a forward pass that runs now saves small."""
    return getattr(state, "on", False) and torch.is_grad_enabled() and not torch.compiler.is_compiling()


@dataclass(frozen=True)
class Form:
    """How a tensor is held, and the way back. bits = 0: as it is."""

    bits: int
    exponent: int
    top: int  # no |m| is larger
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
        return unpack(packed, self.bits, tuple(m * 2.0**-self.exponent for m in self._levels()), x)

    def integers(self, data: torch.Tensor) -> torch.Tensor:
        """All m, as int8 or int16 in the tensor's memory format."""
        if self.bits >= 8:
            return data
        m = torch.empty_strided(self.shape, self.strides, dtype=torch.int8, device=data.device)
        return unpack(data, self.bits, self._levels(), m)

    def _levels(self) -> tuple[int, ...]:
        return (-1, 1) if self.bits == 1 else tuple(range(-self.top, self.top + 1))

    def channels(self, data: torch.Tensor, begin: int, end: int) -> torch.Tensor:
        """The part [begin:end] of the tensor's second dimension, dense, in the tensor's memory format; at least 8 bits."""
        x = data[:, begin:end].to(self.dtype).contiguous(memory_format=memory_format(data))
        return x.mul_(2.0**-self.exponent) if self.exponent else x


def small(x: torch.Tensor, least: int = 1) -> tuple[torch.Tensor, Form]:
    """What holds x, in at least `least` bits per value, and its form. That is x itself where it has no exact small form,
    is not a dense float32 or float64 tensor of two dimensions or more, or where saving small is off."""
    x = x.detach()
    held = None
    if is_on() and type(x) is torch.Tensor and x.dtype in (torch.float32, torch.float64) and x.dim() >= 2:
        held = integers(x, least)
    return held or (x, Form(0, 0, 0, x.shape, x.stride(), x.dtype))


def integers(x: torch.Tensor, least: int = 8) -> tuple[torch.Tensor, Form] | None:
    """The smallest exact form of a dense float tensor, of at least `least` bits per value; None where it has none."""
    if x.numel() == 0 or not is_dense(x):
        return None
    for part in (in_memory_order(x)[:LOOK], x):  # mostly, what the first values are, all are
        found = _find_levels(part)
        if found is None:
            break
        exponent, largest, zeros = found
        for bits, top in TOPS:
            if largest <= top and not (bits == 1 and zeros):
                bits = max(bits, least)
                data = _pack(x, bits, exponent, top)
                if data is not None:
                    return data, Form(bits, exponent, top, x.shape, x.stride(), x.dtype)
    return None


def refuse_double_backward(form: Form | None = None) -> None:
    """Raises RuntimeError in a backward pass that is itself to be differentiated, where float tensors were not saved."""
    if torch.is_grad_enabled() and (form is None or form.bits):
        raise RuntimeError(
            "pack_saved_activations saves no tensors for create_graph=True; run the forward pass without it"
        )


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


def is_plain(x: torch.Tensor) -> bool:
    """Whether the native kernels read it: float32 on the CPU."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def in_memory_order(x: torch.Tensor) -> torch.Tensor:
    """The elements of a dense tensor as one dimension, sharing its memory."""
    return x.as_strided((x.numel(),), (1,))


def _find_levels(x: torch.Tensor) -> tuple[int, int, bool] | None:
    """`levels_reference`, by the native kernel where it applies."""
    library = native.library() if is_plain(x) else None
    if library is None:
        return levels_reference(x)
    found = native.Levels()
    if not library.gxnor_find_levels(x.data_ptr(), x.numel(), ctypes.byref(found), torch.get_num_threads()):
        return None
    exponent = GRID - min(GRID, (found.bits & -found.bits).bit_length() - 1) if found.bits else 0
    return exponent, found.largest >> (GRID - exponent), bool(found.zeros)


def _pack(x: torch.Tensor, bits: int, exponent: int, top: int) -> torch.Tensor | None:
    """int8 or int16 like x, or the bits of its levels' indices, in the order of its memory; None where one of its values
    does not fit."""
    scale = 2.0**exponent
    if bits >= 8:
        packed = torch.empty_strided(x.shape, x.stride(), dtype=INTEGERS[bits], device=x.device)
        offset, first, last = 0.0, -top, top
    else:
        packed = torch.empty((x.numel() * bits + 7) // 8, dtype=torch.uint8, device=x.device)
        scale, offset, first, last = (scale / 2, 0.5, 0, 1) if bits == 1 else (scale, float(top), 0, 2 * top)
    library = native.library() if is_plain(x) else None
    if library is not None:
        code = native.Code(scale, offset, first, last, bits)
        fits = library.gxnor_pack_levels(
            ctypes.byref(code), x.data_ptr(), x.numel(), packed.data_ptr(), torch.get_num_threads()
        )
        return packed if fits else None
    index = (in_memory_order(x) * scale + offset).clamp(first, last).trunc()
    back, x = (index - offset) / scale, in_memory_order(x)
    if not (torch.equal(back, x) and torch.equal(back.signbit(), x.signbit())):
        return None
    if bits >= 8:
        in_memory_order(packed).copy_(index)
        return packed
    return pack_indices(index.to(torch.uint8), bits)
