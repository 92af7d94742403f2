"""QONNX, the form that FINN and hls4ml start from: float carriers, an arbitrary-precision type noted at every tensor, and
MultiThreshold, which is a Threshold in one operator.

Needs onnx alone; qonnx reads and runs what is written here.
"""

from __future__ import annotations

import os

import numpy as np
import onnx
from onnx import TensorProto

from gxnor.program import Program, StateTensor, Threshold, Value
from gxnor.space import DiscreteSpace
from gxnor.targets.onnx.floats import Floats, levels, reachable, steps_to_levels
from gxnor.writing import replacing

OPSET = 13
DOMAIN = "qonnx.custom_op.general"
LAYOUTS = {1: "NC", 2: "NCW", 3: "NCHW"}  # axes of a value, by how many a sample has


def write(program: Program, path: str | os.PathLike) -> str:
    """Writes the model to `path` and returns one line on it.

    Raises GxnorError for a program whose sums float32 cannot hold, and where nothing can be written."""
    content = model(program).SerializeToString()
    with replacing(path) as part:
        part.write_bytes(content)
    return f"{path}: QONNX, opset {OPSET}, {len(content):,} bytes"


def model(program: Program) -> onnx.ModelProto:
    """The program as a QONNX model, checked, with the shape of every value, for one sample at a time.

    Its input is "pixels" (or "states"), integers in float32 (1, *shape), its output "logits", float32 (1, classes)."""
    return Qonnx(program, OPSET).model()


class Qonnx(Floats):
    """Weights are float constants; every tensor of integers has its type."""

    input_dtype = TensorProto.FLOAT
    batch = 1
    domains = ((DOMAIN, 1),)
    instead = "QONNX has no integers of its own; --to onnx --onnx-form integer has"

    def __init__(self, program: Program, opset: int):
        space = program.input.space
        self.types = {"pixels": "UINT8"} if space is None else {"states": integer_type(0, space.size - 1)}
        if program.input.low is not None:
            self.types = {"reals": "FLOAT32"}
        super().__init__(program, opset)

    def model(self) -> onnx.ModelProto:
        """Shapes are written out, for no operator of QONNX has a shape inference of its own."""
        body = len(self.names) - len(self.program.outputs)  # the last are the logits
        for name, value in zip(self.names[:body], self.program.values[:body], strict=True):
            self.types.setdefault(name, value_type(value))
            if name != self.source:
                self.infos.append(self.info(name, TensorProto.FLOAT, value.shape))
        model = super().model()
        for name, kind in self.types.items():
            entry = onnx.StringStringEntryProto(key="finn_datatype", value=kind)
            note = onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry])
            model.graph.quantization_annotation.append(note)
        return model

    def constant(self, name: str, values, dtype: int | None = None) -> str:
        if dtype is None:  # integers
            self.types[name] = integer_type(int(np.min(values)), int(np.max(values)))
        return super().constant(name, values, dtype)

    def input(self) -> str:
        return self.affine(self.indices(), "0.integers", *levels(self.program))

    def states(self, name: str, values: np.ndarray, space: DiscreteSpace) -> str:
        self.constant(name, values)
        self.types[name] = space_type(space)
        return name

    def weight(self, name: str, weight: StateTensor) -> str:
        return self.states(name, weight.levels(), weight.space)

    def dense(self, name: str, x: str, source: Value, weight_name: str, weight: StateTensor) -> str:
        return self.node("MatMul", [x, self.states(weight_name, weight.levels().T, weight.space)], name)

    def threshold(self, name: str, x: str, source: Value, number: int, layer: Threshold) -> str:
        x = self.signed(x, source, number, layer)
        steps = self.constant(f"{number}.thresholds", reachable(layer.thresholds, source.bound))
        factor, offset = steps_to_levels(layer.space)
        return self.node(
            "MultiThreshold", [x, steps], name, domain=DOMAIN, out_dtype=space_type(layer.space),
            out_scale=float(factor), out_bias=float(offset), data_layout=LAYOUTS[len(source.shape)],
        )  # fmt: skip


def value_type(value: Value) -> str:
    """QONNX's name of the type that holds a value."""
    return integer_type(-value.bound, value.bound) if value.space is None else space_type(value.space)


def space_type(space: DiscreteSpace) -> str:
    """QONNX's name of the type that holds the levels of a space."""
    return {0: "BIPOLAR", 1: "TERNARY"}.get(space.N) or integer_type(-space.denominator, space.denominator)


def integer_type(low: int, high: int) -> str:
    """QONNX's name of the narrowest integers that hold `low` to `high`."""
    if low >= 0:
        return "BINARY" if high <= 1 else f"UINT{high.bit_length()}"
    return f"INT{max(-low - 1, high).bit_length() + 1}"
