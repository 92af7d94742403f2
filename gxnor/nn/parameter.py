"""A discrete weight as PyTorch sees it: a parameter that looks float and stores packed state indices.

`DiscreteParameter` is a tensor subclass with the shape, dtype and gradient of an ordinary float parameter. What it
holds is `packed`: uint8, the codes of `gxnor.nn.codes`, 1 to 8 bits per weight, laid out as by
`gxnor.packing.pack_bits`. An operation that reads it (a convolution, forward or backward) gets float values that are
made for that operation and dropped after it. An operation that would write float values into it, or into a view of it,
is refused (`gxnor.nn.reading`): states move by `gxnor.optim.DST`.
"""

from __future__ import annotations

import torch

from gxnor.nn.codes import (
    check_codes,
    dequantize,
    dequantize_operator,
    has_two_zeros,
    one_code,
    pack_indices,
    unpack_indices,
)
from gxnor.nn.reading import ReadOnlyTensor
from gxnor.nn.tracing import refuse_recording
from gxnor.packing import storage_bits
from gxnor.space import DiscreteSpace

aten = torch.ops.aten


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
            values = dequantize(packed, space, self.shape, dtype)
        else:
            values = dequantize_operator(packed, space.N, space.H, self.shape, dtype)
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


def _rebuild(packed, N, H, shape, dtype, requires_grad, strides, two_zeros=False):
    """What unpickling calls. The bytes come from outside: a ValueError where they are not states of this shape."""
    space, shape = DiscreteSpace(N, H), torch.Size(shape)
    if packed.device.type != "meta":
        check_codes(packed, space, shape.numel(), two_zeros)
    return DiscreteParameter(packed, space, shape, dtype, requires_grad, strides)


torch.serialization.add_safe_globals([_rebuild])
