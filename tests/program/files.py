"""Files of programs in parts, for the tests that share them."""

import io
import json
import struct

import numpy as np

from gxnor.program import ALWAYS, NEVER, Dense, Input, Program, Scale, StateTensor, Threshold, file
from gxnor.space import DiscreteSpace


def parse(data: bytes) -> Program:
    return file.read_stream(io.BytesIO(data), len(data))


def assert_same(a, b):
    """Every field of every layer, arrays with their types."""
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, tuple):
        assert isinstance(b, tuple) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif hasattr(a, "__dataclass_fields__"):
        assert type(a) is type(b)
        for name in a.__dataclass_fields__:
            assert_same(getattr(a, name), getattr(b, name))
    else:
        assert a == b and type(a) is type(b)


def tiny() -> Program:
    weight = StateTensor.from_indices(DiscreteSpace(1), np.array([[0, 1, 2], [2, 2, 0]], dtype=np.uint8))
    steps = np.array([[-1, 1], [ALWAYS, NEVER]], dtype=np.int32)
    layers = (
        Dense((0,), weight),
        Threshold((1,), DiscreteSpace(1), steps, np.array([1, -1], dtype=np.int8)),
        Scale((2,), np.array([1, 2], dtype=np.float32), np.array([0, 0.5], dtype=np.float32)),
    )
    return Program(Input((3,)), layers, ("no", "yes"))


def parts(data: bytes) -> tuple[dict, dict, bytes]:
    """Header, program and tensors of a file, to be changed and joined again."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["gxnor"]), data[8 + length :]


def join(header, program, tensors) -> bytes:
    if program is not None:
        header["__metadata__"]["gxnor"] = program if isinstance(program, str) else json.dumps(program)
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors
