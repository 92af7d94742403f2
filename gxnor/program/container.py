"""A safetensors file read without trust: its frame, its header, and its tensors, each taken once.

Every length is checked against the size of the file before anything of that length is made. `safetensors.safe_open` would
read the tensors too, but allows headers of 100 MB; and this way reading a network takes NumPy alone.
"""

from __future__ import annotations

import json
import math
from typing import BinaryIO

import numpy as np

from gxnor.errors import GxnorError

MAX_HEADER = 2**20  # bytes
DTYPES = {"U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "F32": "<f4"}


class Tensors:
    """The tensors of a safetensors file, each to be taken once, and `text`, the one entry of its metadata.

    Raises GxnorError unless the header is what it should be and the tensors fill the rest of the file without gap."""

    def __init__(self, file: BinaryIO, size: int):
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise GxnorError(f"not a .gxnor file, or one cut short: {size} bytes, a header of {length}")
        if length > MAX_HEADER:
            raise GxnorError(
                f"expected names of classes and layers in a header of at most {MAX_HEADER:,} bytes, got {length:,}"
            )
        header = parse(_read(file, length), "the header")
        metadata = as_object(header.pop("__metadata__", None), "metadata")
        expect_keys(metadata, ("gxnor",), "metadata")
        if not isinstance(metadata["gxnor"], str):
            raise GxnorError("expected the program as a JSON text in the metadata")
        self.text, self._file, self._start, self._size = metadata["gxnor"], file, 8 + length, size - 8 - length
        self._entries = {name: self._entry(name, entry) for name, entry in header.items()}
        end = 0
        for start, stop, _, _ in sorted(self._entries.values()):
            if start != end:
                raise GxnorError(f"tensors overlap or leave a gap at byte {min(start, end)} of the data")
            end = stop
        if end != self._size:
            raise GxnorError(f"tensors take {end} bytes, the file has {self._size}: cut short or too long")

    def _entry(self, name: str, entry) -> tuple[int, int, str, tuple[int, ...]]:
        what = f"tensor {name!r:.60}"
        expect_keys(as_object(entry, what), ("dtype", "shape", "data_offsets"), what)
        dtype, shape, offsets = entry["dtype"], as_list(entry["shape"], what), as_list(entry["data_offsets"], what)
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise GxnorError(f"{what}: expected one of {', '.join(DTYPES)}, got {dtype!r:.60}")
        if len(offsets) != 2 or not all(type(n) is int and 0 <= n <= self._size for n in offsets):
            raise GxnorError(
                f"{what}: expected two offsets within the file, which has {self._size} bytes of tensors, got "
                f"{offsets!r:.60}: cut short, or not a .gxnor file"
            )
        if not all(type(n) is int and 1 <= n <= self._size for n in shape) or not 1 <= len(shape) <= 2:
            raise GxnorError(f"{what}: expected one or two positive lengths within the file, got {shape!r:.60}")
        if offsets[1] - offsets[0] != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
            raise GxnorError(f"{what}: {dtype} {shape} does not take bytes {offsets[0]} to {offsets[1]}")
        return offsets[0], offsets[1], dtype, tuple(shape)

    def expect_bytes(self, name: str, count: int, what: str) -> None:
        """Raises GxnorError, before anything is read, where a tensor is there and has another number of bytes."""
        start, stop, *_ = self._entries.get(name, (0, count))
        if stop - start != count:
            raise GxnorError(f"{what} take {count} bytes, {name!r} has {stop - start}")

    def take(self, name: str, dtypes: tuple[str, ...], dims: int) -> np.ndarray:
        """Reads a tensor. Raises GxnorError unless it is there and of such a type and number of dimensions."""
        if name not in self._entries:
            raise GxnorError(f"expected a tensor {name!r}, found none")
        start, stop, dtype, shape = self._entries.pop(name)
        if dtype not in dtypes or len(shape) != dims:
            raise GxnorError(f"expected {name!r} as {' or '.join(dtypes)} of {dims} dimensions, got {dtype} {shape}")
        self._file.seek(self._start + start)
        return np.frombuffer(_read(self._file, stop - start), dtype=DTYPES[dtype]).reshape(shape)

    def unused(self) -> str | None:
        """The name of a tensor that nobody took."""
        return next(iter(self._entries), None)


def _read(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise GxnorError("the file became shorter while it was read")
    return data


def parse(text: str | bytes, what: str) -> dict:
    """A JSON object; keys that come twice, NaN and infinities are refused."""

    def unique(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key comes twice")
        return dict(pairs)

    def no_constant(name):
        raise ValueError(f"{name} is not JSON")

    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise GxnorError(f"{what} is not the JSON that was expected: {error!s:.100}") from None
    return as_object(value, what)


def as_object(value, what: str) -> dict:
    if not isinstance(value, dict):
        raise GxnorError(f"expected {what} as a JSON object, got {value!r:.60}")
    return value


def as_list(value, what: str) -> list:
    if not isinstance(value, list):
        raise GxnorError(f"expected {what} as a list, got {value!r:.60}")
    return value


def expect_keys(entry: dict, keys: tuple[str, ...], what: str) -> None:
    if entry.keys() != set(keys):
        raise GxnorError(f"expected {what} with {', '.join(keys)}, got {', '.join(map(repr, entry)):.100}")
