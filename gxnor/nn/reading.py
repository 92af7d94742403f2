"""Tensors that are read as floats and written to by nobody: what a discrete weight and its views have in common.

The float values of a discrete weight are made for one operation and dropped after it, so a write into a view of them
(`weight[0].zero_()`) would change nothing. Every operation whose result PyTorch declares to share memory with its input
therefore gives a `WeightView`, which any other operation reads as the plain float tensor that it holds, and which refuses
to be written to.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map_only


class ReadOnlyTensor(torch.Tensor):
    """A tensor whose `dequantize()` gives its values; `_refusal(what)` says why it cannot be written to."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as torch's own subclasses

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The values as an ordinary float tensor, which belongs to the caller."""
        raise NotImplementedError

    def _values(self) -> torch.Tensor:
        """`dequantize()`, for one that reads only."""
        return self.dequantize()

    def _refusal(self, what) -> str:
        raise NotImplementedError

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func._schema.is_mutable:
            for tensor in _written(func._schema, args, kwargs):
                raise TypeError(tensor._refusal(func))
        args, kwargs = tree_map_only(ReadOnlyTensor, lambda t: t._values(), (args, kwargs))
        result = func(*args, **kwargs)
        return tree_map_only(torch.Tensor, _as_view, result) if _makes_views(func) else result

    def __setitem__(self, place, value):
        raise TypeError(self._refusal("weight[...] = ..."))

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The values as an array that cannot be written to."""
        if self.requires_grad and not force:
            raise RuntimeError("expected weight.detach().numpy(), got weight.numpy() of a weight that requires grad")
        array = self._values().numpy(force=force)
        array.flags.writeable = False
        return array

    def tolist(self) -> list:
        return self._values().tolist()

    def storage(self):
        raise TypeError(
            "a discrete weight has no memory of floats: save it with torch.save, or as weight.dequantize() (floats, which "
            "load_state_dict takes), or as weight.packed"
        )

    def __dlpack__(self, **_):
        raise BufferError("a discrete weight has no memory of floats: pass weight.dequantize() instead")


def _refuse_in_place(name: str):
    def refuse(self, *_):  # a TypeError from below would make Python compute `v = v + 1` for `v += 1`
        raise TypeError(self._refusal(name))

    return refuse


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"):
    setattr(ReadOnlyTensor, f"__i{_name}__", _refuse_in_place(f"__i{_name}__"))


class WeightView(ReadOnlyTensor):
    """A view of a discrete weight, to be read; `clone()` gives an ordinary tensor."""

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=held.device
        )

    def __init__(self, held: torch.Tensor):
        self.held = held

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        return self.held.to(dtype or self.dtype, copy=True)

    def _values(self) -> torch.Tensor:
        return self.held

    def _refusal(self, what) -> str:
        return (
            f"{what} would write into a view of a discrete weight, whose float values are made to be read; "
            "its states move by gxnor.optim.DST, or by weight.set_indices(...); view.clone() can be written to"
        )

    def __repr__(self, **_):
        return repr(self.held)

    def __deepcopy__(self, memo):
        memo[id(self)] = copy = self.held.clone()
        return copy

    def __reduce_ex__(self, protocol):
        return self.held.clone().__reduce_ex__(protocol)

    def __tensor_flatten__(self):
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner, meta, outer_size, outer_stride):
        return WeightView(inner["held"])


def _as_view(result: torch.Tensor) -> torch.Tensor:
    return WeightView(result) if type(result) is torch.Tensor else result  # not what torch.compile traces with


@functools.cache
def _makes_views(func) -> bool:
    """Whether what the operation returns shares memory with what it is given."""
    returned = [result.alias_info for result in func._schema.returns]
    return any(info is not None and not info.is_write for info in returned)


def _written(schema, args: tuple, kwargs: dict) -> list[ReadOnlyTensor]:
    """Those among the arguments that an operation writes to, lists and keywords included."""
    written = []
    for i, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written.append(args[i] if i < len(args) else kwargs.get(argument.name))
    return [tensor for tensor in tree_leaves(written) if isinstance(tensor, ReadOnlyTensor)]
