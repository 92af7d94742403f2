"""`.gxnor` files: a program as safetensors with one JSON text in its metadata. `docs/format.md` is the specification.

Reading trusts nothing: every length is checked against the size of the file before anything of that length is made, and
whatever is wrong ends in one GxnorError.
"""

from __future__ import annotations

import io
import json
import math
import os
import stat
from dataclasses import fields
from typing import Any, BinaryIO

import numpy as np

from gxnor.errors import GxnorError, WorkError
from gxnor.packing import bits_to_radix, check_bits, pack_bits, radix_size, radix_to_bits, unpack_bits
from gxnor.program import Input, Program
from gxnor.program.container import Tensors, as_list, as_object, expect_keys, parse
from gxnor.program.ops import ALWAYS, LAYERS, NEVER, Layer
from gxnor.program.values import StateTensor
from gxnor.space import DiscreteSpace
from gxnor.writing import replacing

VERSION = 1
# Fields that are tensors of the file, not part of the JSON text.
ARRAYS = ("thresholds", "sign", "scale", "bias", "multiplier", "offset", "order")
INTEGERS = ("inputs", "kernel", "stride", "padding", "dilation", "factors", "before", "after")


def save(program: Program, path: str | os.PathLike) -> None:
    """Writes the file: under a temporary name first, so that `path` is the whole file or what it was before.

    Raises GxnorError where `path` is a folder or a device or cannot be written, and for a program that `read` would
    refuse, as one whose names and layers take more than a header may have."""
    content = encode(program)
    try:
        read_stream(io.BytesIO(content), len(content))
    except GxnorError as error:
        raise GxnorError(f"{path} is not written, for it could not be read again: {error}") from None
    with replacing(path) as part:
        part.write_bytes(content)


def encode(program: Program) -> bytes:
    """The content of the file of a program; equal programs give equal bytes."""
    from safetensors.numpy import save as to_safetensors  # here, for reading does without it

    tensors: dict[str, np.ndarray] = {}
    text: dict[str, Any] = {
        "version": VERSION,
        "input": {"shape": program.input.shape, "N": program.input.space and program.input.space.N},
        "layers": [_encode_layer(number, layer, tensors) for number, layer in enumerate(program.layers, 1)],
        "classes": program.classes,
    }
    if program.input.low is not None and program.input.scale is not None:
        text["input"]["real"] = True
        tensors["0.low"], tensors["0.scale"] = program.input.low, program.input.scale
    if program.data is not None:
        text["data"] = program.data
    if program.output_names:
        text["outputs"] = program.output_names
    return to_safetensors(tensors, {"gxnor": json.dumps(text, separators=(",", ":"))})


def _encode_layer(number: int, layer: Layer, tensors: dict[str, np.ndarray]) -> dict:
    entry: dict[str, Any] = {"kind": type(layer).__name__}
    for field in fields(layer):
        name, value = f"{number}.{field.name}", getattr(layer, field.name)
        match field.name:
            case "weight":
                entry["weight"] = {"N": value.space.N, "shape": value.shape}
                tensors[name] = bits_to_radix(value.packed, value.space.size, value.size)
            case "space":
                entry["N"] = value.N
            case "thresholds":
                tensors[name] = _narrow(value)
            case "sign":
                tensors[name] = pack_bits((value > 0).astype(np.uint8), 1)
            case "scale" | "bias" | "multiplier" | "offset" | "order":
                tensors[name] = value
            case _:
                entry[field.name] = value
    return entry


def _narrow(thresholds: np.ndarray) -> np.ndarray:
    """In the smallest type whose extremes are free to stand for ALWAYS and NEVER."""
    decided = thresholds[(thresholds != ALWAYS) & (thresholds != NEVER)].astype(np.int64)
    for dtype in (np.int8, np.int16, np.int32):
        ends = np.iinfo(dtype)
        if (np.abs(decided) < ends.max).all():
            return thresholds.clip(ends.min, ends.max).astype(dtype)
    return thresholds


def read(path: str | os.PathLike) -> Program:
    """The program in a file.

    Raises GxnorError for a path that is not a file, WorkError (also a GxnorError) for a file that is damaged or holds no
    program; both name the path."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(0, "expected a .gxnor file, got a folder or a device")
        with open(path, "rb") as file:
            return read_stream(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise GxnorError(f"{path}: cannot be read: {error.strerror}") from None
    except GxnorError as error:
        raise WorkError(f"{path}: {error}") from None


def read_stream(file: BinaryIO, size: int) -> Program:
    """The program in an open file of `size` bytes. Raises GxnorError."""
    tensors = Tensors(file, size)
    text = parse(tensors.text, "the program")
    version = text.get("version")
    if version != VERSION or isinstance(version, bool):
        raise GxnorError(f"expected format version {VERSION}, got {version!r:.20}; a newer gxnor may read it")
    optional = tuple(key for key in ("data", "outputs") if key in text)
    expect_keys(text, ("version", "input", "layers", "classes", *optional), "the program")
    entry = as_object(text["input"], "input")
    real = "real" in entry
    expect_keys(entry, ("shape", "N", "real") if real else ("shape", "N"), "input")
    if real and entry["real"] is not True:
        raise GxnorError(f"expected real as true, or no such key, got {entry['real']!r:.20}")
    space = None if entry["N"] is None else _space(entry["N"])
    grid = (tensors.take(f"0.{name}", ("F32",), 1).astype(np.float32) for name in ("low", "scale")) if real else ()
    source = Input(tuple(as_list(entry["shape"], "input shape")), space, *grid)
    layers = []
    for number, entry in enumerate(as_list(text["layers"], "layers"), 1):
        try:
            layers.append(_decode_layer(number, as_object(entry, "a layer"), tensors))
        except (ValueError, GxnorError) as error:
            raise GxnorError(f"layer {number}: {error}") from None
    if left := tensors.unused():
        raise GxnorError(f"tensor {left!r:.60} belongs to no layer")
    classes, data = tuple(as_list(text["classes"], "classes")), text.get("data")
    if "data" in optional and data is None:
        raise GxnorError("expected the name of a data set, or no such key, got null")
    names = tuple(as_list(text["outputs"], "outputs")) if "outputs" in optional else ()
    if "outputs" in optional and not names:
        raise GxnorError("expected names of outputs, or no such key, got none")
    return Program(source, tuple(layers), classes, data, names)


def _decode_layer(number: int, entry: dict, tensors: Tensors) -> Layer:
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in LAYERS:
        raise GxnorError(f"expected one of {', '.join(LAYERS)}, got {kind!r:.60}")
    names = [field.name for field in fields(LAYERS[kind])]
    keys = ["N" if name == "space" else name for name in names if name not in ARRAYS]
    expect_keys(entry, ("kind", *keys), kind)
    values: dict[str, Any] = {}
    for name in names:
        match name:
            case "weight":
                values[name] = _decode_weight(entry[name], tensors, f"{number}.weight")
            case "space":
                values[name] = _space(entry["N"])
            case "thresholds":
                narrow = tensors.take(f"{number}.{name}", ("I8", "I16", "I32"), 2)
                ends, wide = np.iinfo(narrow.dtype), narrow.astype(np.int32)
                wide[narrow == ends.min], wide[narrow == ends.max] = ALWAYS, NEVER
                values[name] = wide
            case "sign":
                packed, channels = tensors.take(f"{number}.{name}", ("U8",), 1), len(values["thresholds"])
                check_bits(packed, 2, channels)
                values[name] = 2 * unpack_bits(packed, 1, channels).astype(np.int8) - 1
            case "scale" | "bias":
                values[name] = tensors.take(f"{number}.{name}", ("F32",), 1).astype(np.float32)
            case "multiplier" | "order":
                values[name] = tensors.take(f"{number}.{name}", ("I32",), 1).astype(np.int32)
            case "offset":
                values[name] = tensors.take(f"{number}.{name}", ("I64",), 1).astype(np.int64)
            case _ if name in INTEGERS:
                values[name] = tuple(as_list(entry[name], name))
            case _:
                values[name] = entry[name]  # groups, ceil_mode, shift: the program checks them
    return LAYERS[kind](**values)


def _decode_weight(entry, tensors: Tensors, name: str) -> StateTensor:
    expect_keys(as_object(entry, "weight"), ("N", "shape"), "weight")
    shape, space = as_list(entry["shape"], "weight shape"), _space(entry["N"])
    if len(shape) > 4 or not all(type(n) is int and 1 <= n < 2**31 for n in shape):
        raise GxnorError(f"expected a weight shape of at most 4 positive integers, got {shape!r:.60}")
    count = math.prod(shape)
    tensors.expect_bytes(name, radix_size(count, space.size), f"{count} states in base {space.size}")
    packed = tensors.take(name, ("U8",), 1)
    return StateTensor(space, tuple(shape), radix_to_bits(packed, space.size, count))


def _space(N) -> DiscreteSpace:
    try:
        return DiscreteSpace(N)
    except ValueError:
        raise GxnorError(f"expected N as an integer from 0 to 7, got {N!r:.60}") from None
