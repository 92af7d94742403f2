"""A discrete weight as PyTorch sees it: a parameter that looks float and stores packed state indices.

`DiscreteParameter` is a tensor subclass with the shape, dtype and gradient of an ordinary float parameter. What it
holds is `packed`: uint8, 1 bit per weight (binary), 2 (ternary), 4 or 8 (multi-level), as laid out by
`gxnor.packing.pack_bits`. An operation that reads it (a convolution, forward or backward) gets float values that are
made for that operation and dropped after it. An operation that would write float values into it, or into a view of it,
is refused (`gxnor.nn.reading`): states move by `gxnor.optim.DST`.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from gxnor import native
from gxnor.nn.reading import ReadOnlyTensor
from gxnor.nn.tracing import refuse_recording
from gxnor.packing import check_bits, storage_bits, unpack_bits
from gxnor.space import DiscreteSpace

aten = torch.ops.aten


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


def _dequantize(packed: torch.Tensor, space: DiscreteSpace, shape: torch.Size, dtype) -> torch.Tensor:
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
def _dequantize_operator(packed, N, H, shape, dtype):
    return _dequantize(packed, DiscreteSpace(N, H), torch.Size(shape), dtype)


@_dequantize_operator.register_fake
def _(packed, N, H, shape, dtype):
    return packed.new_empty(shape, dtype=dtype)


class DiscreteParameter(ReadOnlyTensor):
    """A weight in Z_N, held as packed states; see the module's text.

    Args:
        packed: uint8 [ceil(numel * bits / 8)] state indices.
        space: the discrete space.
        shape: shape of the weight.
        dtype: the float dtype in which the weight shows its values and takes its gradient.
        strides: of the values it shows, by default contiguous; `module.to(memory_format=torch.channels_last)` sets
            them. The packed states stay in C order.

    `weight.indices()` gives uint8 state indices, `weight.set_indices(i)` moves the states, `weight.dequantize()` makes a
    float copy. Use `DiscreteParameter.random` or `from_indices` to make one.
    """

    @staticmethod
    def __new__(cls, packed, space, shape, dtype=torch.float32, requires_grad=True, strides=None):
        return torch.Tensor._make_wrapper_subclass(
            cls, shape, strides=strides, dtype=dtype, device=packed.device, requires_grad=requires_grad
        )

    def __init__(self, packed, space, shape, dtype=torch.float32, requires_grad=True, strides=None):
        self.packed = packed
        self.space = space
        self._is_param = True  # what makes isinstance(self, torch.nn.Parameter) true

    @classmethod
    def from_indices(cls, indices: torch.Tensor, space: DiscreteSpace, dtype=torch.float32) -> DiscreteParameter:
        """From uint8 state indices of the weight's shape. Raises ValueError for an index the space does not have."""
        _check_indices(indices, space)
        return cls(pack_indices(indices, storage_bits(space.size)), space, indices.shape, dtype)

    @classmethod
    def random(cls, shape, space: DiscreteSpace, generator=None, device=None, dtype=None) -> DiscreteParameter:
        """Random states, each equally likely, from torch's generator (default: the global one)."""
        shape = torch.Size(shape)
        indices = torch.randint(space.size, shape, generator=generator, dtype=torch.uint8, device=device)
        return cls(pack_indices(indices, storage_bits(space.size)), space, shape, dtype or torch.get_default_dtype())

    def indices(self) -> torch.Tensor:
        """uint8 state indices, of the weight's shape."""
        return unpack_indices(one_code(self.packed, self.space), storage_bits(self.space.size), self.shape)

    @torch.no_grad()
    def set_indices(self, indices: torch.Tensor) -> None:
        """Moves every weight to the given state, in place. Raises ValueError for a state the space does not have."""
        if indices.shape != self.shape:
            raise ValueError(f"expected state indices of shape {tuple(self.shape)}, got {tuple(indices.shape)}")
        _check_indices(indices, self.space)
        self.packed.copy_(pack_indices(indices, storage_bits(self.space.size)))
        self.note_move()

    def note_move(self) -> None:
        """Tells autograd that the states have moved, by whatever wrote to `packed`: a backward pass that needs those from
        before is then refused, as after any other operation in place."""
        torch.autograd.graph.increment_version(self)
        torch.autograd.graph.increment_version(self.packed)

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A float copy of the weight, made now and owned by the caller."""
        packed, space, dtype = self.packed, self.space, dtype or self.dtype
        if type(packed) is torch.Tensor:
            values = _dequantize(packed, space, self.shape, dtype)
        else:
            values = _dequantize_operator(packed, space.N, space.H, self.shape, dtype)
        if values.stride() == self.stride():
            return values
        return values.new_empty_strided(self.shape, self.stride()).copy_(values)

    def __repr__(self, **_):
        return f"DiscreteParameter({tuple(self.shape)}, {self.space}, device={self.device})"

    @property
    def data(self) -> torch.Tensor:
        return self.detach()

    @data.setter
    def data(self, value):
        raise TypeError(self._refusal("weight.data = ..."))

    def _refusal(self, what) -> str:
        return (
            f"{what} would write real numbers into a discrete weight of {self.space}; "
            "its states move by gxnor.optim.DST, or by weight.set_indices(...)"
        )

    def share_memory_(self) -> DiscreteParameter:
        """Moves the packed states to memory that processes share, as torch does with a tensor."""
        self.packed.share_memory_()
        return self

    def is_shared(self) -> bool:
        return self.packed.is_shared()

    def __deepcopy__(self, memo):
        memo[id(self)] = copy = _like(self, self.packed.clone()).requires_grad_(self.requires_grad)
        copy._is_param = self._is_param
        return copy

    def __reduce_ex__(self, protocol):
        shape, strides = tuple(self.shape), self.stride()
        given = (self.packed, self.space.N, self.space.H, shape, self.dtype, self.requires_grad, strides)
        return _rebuild, (*given, has_two_zeros(self.packed, self.space))

    def __tensor_flatten__(self):
        refuse_recording()  # where torch.compile traces a layer, it takes is_in_onnx_export() there for False
        return ["packed"], (self.space, self.dtype, self.requires_grad)

    @staticmethod
    def __tensor_unflatten__(inner, meta, outer_size, outer_stride):
        space, dtype, requires_grad = meta
        return DiscreteParameter(inner["packed"], space, outer_size, dtype, requires_grad, outer_stride)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (aten.detach.default, aten.alias.default):
            return _like(args[0], args[0].packed)
        if func is aten.clone.default:
            strides = _strides(args[0], kwargs.get("memory_format"))
            return _like(args[0], args[0].packed.clone(), strides=strides)
        if func is aten._to_copy.default:
            dtype = kwargs.get("dtype") or args[0].dtype
            if not dtype.is_floating_point:
                return args[0].dequantize().to(dtype=dtype, device=kwargs.get("device"))
            strides = _strides(args[0], kwargs.get("memory_format"))
            return _like(args[0], args[0].packed.to(device=kwargs.get("device"), copy=True), dtype, strides)
        if func is aten.empty_like.default and args[0].is_meta:  # Module.to_empty: any states, to be loaded over
            return _like(args[0], torch.zeros_like(args[0].packed, device=kwargs.get("device")), kwargs.get("dtype"))
        if func is aten.copy_.default and isinstance(args[0], DiscreteParameter):
            _copy_states(args[0], args[1])
            return args[0]
        return super().__torch_dispatch__(func, types, args, kwargs)


def _like(weight: DiscreteParameter, packed: torch.Tensor, dtype=None, strides=None) -> DiscreteParameter:
    """The result of an operation on `weight`: no parameter of a module, and autograd, not we, says what it requires."""
    dtype, strides = dtype or weight.dtype, strides or weight.stride()
    result = DiscreteParameter(packed, weight.space, weight.shape, dtype, False, strides)
    result._is_param = False
    return result


def _strides(weight: DiscreteParameter, memory_format: torch.memory_format | None) -> tuple[int, ...]:
    if memory_format in (None, torch.preserve_format):
        return weight.stride()
    return torch.empty(weight.shape, device="meta", memory_format=memory_format).stride()


def _check_indices(indices: torch.Tensor, space: DiscreteSpace) -> None:
    if indices.dtype != torch.uint8:
        raise TypeError(f"expected uint8 state indices, got {indices.dtype}")
    if indices.numel() and int(indices.max()) >= space.size:
        raise ValueError(f"state indices of {space} run from 0 to {space.size - 1}, got {int(indices.max())}")


def _copy_states(weight: DiscreteParameter, source: torch.Tensor) -> None:
    if isinstance(source, DiscreteParameter):
        if source.space != weight.space or source.shape != weight.shape:
            raise ValueError(
                f"expected states of {weight.space} in shape {tuple(weight.shape)}, "
                f"got {source.space} in shape {tuple(source.shape)}"
            )
        weight.packed.copy_(source.packed)
        return
    indices = torch.from_numpy(weight.space.index(source.detach().cpu().float().numpy()))
    weight.set_indices(indices.to(weight.device).expand(weight.shape))


def has_two_zeros(packed: torch.Tensor, space: DiscreteSpace) -> bool:
    """Whether there is a code among them that is no index."""
    return not packed.is_meta and not torch.equal(one_code(packed, space), packed)


def check_codes(packed: torch.Tensor, space: DiscreteSpace, count: int, two_zeros: bool) -> None:
    """Raises ValueError unless these bytes are the packed codes of `count` weights, with both zeros only where they were
    said to have them: else a second zero is damage."""
    check_bits(packed.cpu().numpy(), 4 if two_zeros and space.N == 1 else space.size, count)


def _rebuild(packed, N, H, shape, dtype, requires_grad, strides, two_zeros=False):
    """What unpickling calls. The bytes come from outside: a ValueError where they are not states of this shape."""
    space, shape = DiscreteSpace(N, H), torch.Size(shape)
    if packed.device.type != "meta":
        check_codes(packed, space, shape.numel(), two_zeros)
    return DiscreteParameter(packed, space, shape, dtype, requires_grad, strides)


torch.serialization.add_safe_globals([_rebuild])
