"""The float form: integers in float32, which is exact while none is larger than 2^24 (`Program.largest_sum`).

Every partial sum of a Conv or Gemm is an integer within the bound of its output, so no order of summation rounds."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gxnor.errors import GxnorError
from gxnor.packing import pack_bits
from gxnor.program import (
    NEVER,
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    Pad,
    Program,
    Requantize,
    Scale,
    StateTensor,
    SumPool,
    Threshold,
    Upsample,
    Value,
)
from gxnor.space import DiscreteSpace
from gxnor.version import VERSION

EXACT = 2**24  # float32 holds every integer up to here


class Floats:
    """Builds the model layer by layer. Other forms override what they do in another way."""

    dtype = TensorProto.FLOAT  # of integers, while they are summed and compared
    input_dtype = TensorProto.UINT8
    batch: int | str = "batch"
    domains: tuple[tuple[str, int], ...] = ()  # of operators beside ONNX's own
    instead = "take --onnx-form integer"  # what to do about sums that floats do not hold

    def __init__(self, program: Program, opset: int):
        self.program, self.opset = program, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.infos: list[onnx.ValueInfoProto] = []
        self.check()
        self.names = [self.input()]
        for number, layer in enumerate(program.layers, 1):
            self.names.append(self.layer(number, layer, [self.names[i] for i in layer.inputs]))

    def check(self) -> None:
        """Raises GxnorError, naming the layer, for sums that this form cannot hold."""
        for number, value in enumerate(self.program.values):
            if value.bound > EXACT:
                name = f"layer {number} ({type(self.program.layers[number - 1]).__name__})"
                raise GxnorError(
                    f"{name}: its sums can reach {value.bound}, float32 is exact up to {EXACT}: {self.instead}"
                )

    def model(self) -> onnx.ModelProto:
        """The whole model, checked, with the shape of every value."""
        program = self.program
        graph = helper.make_graph(
            self.nodes, "gxnor",
            [self.info(self.source, TensorProto.FLOAT if self.real else self.input_dtype, program.input.shape)],
            [self.info(output.name, TensorProto.FLOAT, output.shape) for output in program.outputs],
            self.constants, value_info=self.infos,
        )  # fmt: skip
        opsets = [helper.make_opsetid(*domain) for domain in (("", self.opset), *self.domains)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets[:1]),
            producer_name="gxnor", producer_version=VERSION,
        )  # fmt: skip
        by_name = {output.name: output.classes for output in program.outputs}
        about = {"classes": json.dumps(by_name if program.output_names else program.classes)}
        about |= {"data": program.data} if program.data else {}
        helper.set_model_props(model, about)
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)

    @property
    def source(self) -> str:
        """The name of the input."""
        return "reals" if self.real else "pixels" if self.program.input.space is None else "states"

    @property
    def real(self) -> bool:
        """Whether the input is real numbers."""
        return self.program.input.low is not None

    # One node, one constant.

    def node(self, op: str, inputs: list[str], name: str, **attributes) -> str:
        """Adds a node with one output, which has its name."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, values, dtype: int | None = None) -> str:
        """Adds a constant, of the form's own type where none is named."""
        kind = helper.tensor_dtype_to_np_dtype(self.dtype if dtype is None else dtype)
        self.constants.append(numpy_helper.from_array(np.array(values, dtype=kind, order="C"), name))
        return name

    def info(self, name: str, dtype: int, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, dtype, (self.batch, *shape))

    def affine(self, x: str, name: str, factor: int, offset: int) -> str:
        """factor x + offset as `name`, x itself where that is x."""
        if factor != 1:
            last = name if not offset else f"{name}.scaled"
            x = self.node("Mul", [x, self.constant(f"{name}.factor", factor)], last)
        return self.node("Add", [x, self.constant(f"{name}.offset", offset)], name) if offset else x

    # What the form makes of the input and of each kind of layer.

    def input(self) -> str:
        """Value 0."""
        indices = self.node("Cast", [self.indices()], "0.cast", to=self.dtype)
        return self.affine(indices, "0.integers", *levels(self.program))

    def indices(self) -> str:
        """Pixels, or state indices of what goes in: ONNX rounds halves to even, as the reference does."""
        given = self.program.input
        if given.low is None or given.scale is None or given.space is None:
            return self.source
        low, scale = (
            self.constant(f"0.{name}", channels_of(values, self.program.values[0]), TensorProto.FLOAT)
            for name, values in (("low", given.low), ("scale", given.scale))
        )
        above = self.node("Mul", [self.node("Sub", [self.source, low], "0.above"), scale], "0.steps")
        ends = [self.constant(f"0.{i}", end, TensorProto.FLOAT) for i, end in enumerate((0, given.space.size - 1))]
        return self.node("Clip", [self.node("Round", [above], "0.rounded"), *ends], "0.indices")

    def layer(self, number: int, layer: Layer, inputs: list[str]) -> str:
        """Adds a layer and gives the name of its value."""
        name, out = f"{number}.{type(layer).__name__}", self.program.values[number]
        sources = [self.program.values[i] for i in layer.inputs]
        match layer:
            case Conv():
                weight = self.weight(f"{number}.weight", layer.weight)
                return self.conv(name, inputs[0], sources[0], weight, layer, layer.dilation, layer.groups)
            case SumPool():
                channels = out.shape[0]
                ones = self.ones(f"{number}.ones", (channels, 1, *layer.kernel))
                return self.conv(name, inputs[0], sources[0], ones, layer, (1,) * len(layer.kernel), channels)
            case Dense():
                return self.dense(name, inputs[0], sources[0], f"{number}.weight", layer.weight)
            case Threshold():
                return self.threshold(name, inputs[0], sources[0], number, layer)
            case MaxPool():
                return self.max_pool(name, inputs[0], sources[0], out, layer)
            case Add():
                terms = enumerate(zip(inputs, layer.factors, strict=True))
                scaled = [self.affine(x, f"{name}.term{i}", factor, 0) for i, (x, factor) in terms]
                return self.node("Add", scaled, name)
            case Flatten():
                return self.node("Flatten", inputs, name, axis=1)
            case Requantize():
                return self.requantize(name, inputs[0], sources[0], number, layer)
            case Concat():
                return self.node("Concat", inputs, name, axis=1)
            case Pad():
                sizes = [0, 0, *layer.before, 0, 0, *layer.after]
                return self.node("Pad", [inputs[0], self.constant(f"{name}.sizes", sizes, TensorProto.INT64)], name)
            case Upsample():
                factors = self.constant(f"{name}.factors", [1, 1, *layer.factors], TensorProto.FLOAT)
                return self.node(
                    "Resize", [inputs[0], "", factors], name,
                    mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
                )  # fmt: skip
            case Channels():
                order = self.constant(f"{number}.order", layer.order, TensorProto.INT64)
                return self.node("Gather", [inputs[0], order], name, axis=1)
            case Scale():
                return self.scale(inputs[0], out, number, layer)
        raise TypeError(f"{type(layer).__name__} is not a layer")

    def weight(self, name: str, weight: StateTensor) -> str:
        """Levels as a constant, in as few bits as the opset has, made floats when the model is loaded or run."""
        one = self.constant(f"{name}.step", 1)
        return self.node("DequantizeLinear", [self.small(name, weight.levels(), weight.space), one], f"{name}.levels")

    def small(self, name: str, values: np.ndarray, space: DiscreteSpace) -> str:
        """A constant of 2 bits for binary and ternary levels from opset 25 on, of 4 bits for up to nine states from 21 on,
        of 8 bits otherwise."""
        if space.N <= 1 and self.opset >= 25:
            return self._packed(name, values, TensorProto.INT2, 2)
        if space.N <= 3 and self.opset >= 21:
            return self._packed(name, values, TensorProto.INT4, 4)
        return self.constant(name, values, TensorProto.INT8)

    def _packed(self, name: str, values: np.ndarray, dtype: int, bits: int) -> str:
        content = pack_bits(values.astype(np.uint8) & np.uint8(2**bits - 1), bits)  # two's complement
        self.constants.append(helper.make_tensor(name, dtype, values.shape, content.tobytes(), raw=True))
        return name

    def ones(self, name: str, shape: tuple[int, ...]) -> str:
        return self.constant(name, np.ones(shape))

    def conv(self, name: str, x: str, source: Value, weight: str, layer: Conv | SumPool, dilation, groups: int) -> str:
        """The sums of `layer`, whose stride and padding are read, with weights of that name."""
        return self.node("Conv", [x, weight], name, **window(layer, dilation), group=groups)

    def dense(self, name: str, x: str, source: Value, weight_name: str, weight: StateTensor) -> str:
        return self.node("Gemm", [x, self.weight(weight_name, weight)], name, transB=1)

    def threshold(self, name: str, x: str, source: Value, number: int, layer: Threshold) -> str:
        """Compares with every step on an axis of its own, and counts along it."""
        axis = self.constant(f"{number}.axis", [1], TensorProto.INT64)
        x = self.node("Unsqueeze", [self.signed(x, source, number, layer), axis], f"{name}.each")
        steps = channels_of(reachable(layer.thresholds, source.bound).T, source)
        reached = self.node("GreaterOrEqual", [x, self.constant(f"{number}.thresholds", steps)], f"{name}.reached")
        reached = self.node("Cast", [reached], f"{name}.ones", to=self.dtype)
        index = self.node("ReduceSum", [reached, axis], f"{name}.index", keepdims=0)
        return self.affine(index, name, *steps_to_levels(layer.space))

    def signed(self, x: str, source: Value, number: int, layer: Threshold) -> str:
        """x times the sign of its channel, x where all are +1."""
        if (layer.sign > 0).all():
            return x
        return self.node(
            "Mul", [x, self.constant(f"{number}.sign", channels_of(layer.sign, source))], f"{number}.signed"
        )

    def max_pool(self, name: str, x: str, source: Value, out: Value, layer: MaxPool, real=TensorProto.FLOAT) -> str:
        """Padding that differs at both ends says what ceil_mode means, which runtimes do not agree on; an operator of its
        own, where MaxPool may not pad that much."""
        ends = [
            max((count - 1) * s + d * (k - 1) + 1 - n - p, p)
            for count, n, k, s, p, d in zip(
                out.shape[1:], source.shape[1:], layer.kernel, layer.stride, layer.padding, layer.dilation, strict=True
            )
        ]
        pads = [*layer.padding, *ends]
        if any(p >= k for p, k in zip(pads, 2 * layer.kernel, strict=True)):
            sizes = self.constant(f"{name}.pads", [0, 0, *layer.padding, 0, 0, *ends], TensorProto.INT64)
            lowest = self.constant(f"{name}.lowest", -source.bound, real)  # no window is all padding
            x = self.node("Pad", [x, sizes, lowest], f"{name}.padded")
            pads = [0] * len(pads)
        return self.node(
            "MaxPool", [x], name, kernel_shape=layer.kernel, strides=layer.stride, dilations=layer.dilation, pads=pads
        )

    def requantize(self, name: str, x: str, source: Value, number: int, layer: Requantize) -> str:
        """In 64 bits. ONNX divides towards zero, so 2^62 makes numbers positive that are then divided, and is taken off."""
        wide = TensorProto.INT64
        multiplier, offset = (
            self.constant(f"{number}.{name}", channels_of(values, source), wide)
            for name, values in (("multiplier", layer.multiplier), ("offset", layer.offset + 2**62))
        )
        step = self.constant(f"{name}.step", 2**layer.shift, wide)
        below = self.constant(f"{name}.below", 2 ** (62 - layer.shift), wide)
        x = self.node("Mul", [self.node("Cast", [x], f"{name}.int64", to=wide), multiplier], f"{name}.multiple")
        x = self.node("Div", [self.node("Add", [x, offset], f"{name}.positive"), step], f"{name}.quotient")
        return self.node("Cast", [self.node("Sub", [x, below], f"{name}.shifted")], name, to=self.dtype)

    def scale(self, x: str, out: Value, number: int, layer: Scale) -> str:
        scale, bias = (
            self.constant(f"{number}.{name}", channels_of(values, out), TensorProto.FLOAT)
            for name, values in (("scale", layer.scale), ("bias", layer.bias))
        )
        (name,) = (output.name for output in self.program.outputs if output.number == number)
        return self.node("Add", [self.node("Mul", [x, scale], f"{number}.scaled"), bias], name)


def levels(program: Program) -> tuple[int, int]:
    """(factor, offset) that make value 0 of pixels or state indices."""
    space = program.input.space
    return (2, -255) if space is None else steps_to_levels(space)


def steps_to_levels(space: DiscreteSpace) -> tuple[int, int]:
    """(factor, offset) that make levels of state indices."""
    return (2, -1) if space.N == 0 else (1, -space.denominator)


def channels_of(values: np.ndarray, source: Value) -> np.ndarray:
    """(..., C) with an axis of one for each spatial axis of `source`, so that it meets (batch, C, ...)."""
    return values.reshape(*values.shape, *(1,) * (len(source.shape) - 1))


def reachable(thresholds: np.ndarray, bound: int) -> np.ndarray:
    """The same steps for values within the bound, in numbers that float32 holds: none reaches bound + 2."""
    return np.where(thresholds > bound, min(bound + 2, NEVER), np.maximum(thresholds, -bound).astype(np.int64))


def window(layer: Conv | SumPool, dilation: tuple[int, ...]) -> dict:
    """The attributes of a convolution; ONNX wants its padding at the start of every axis, then at the end."""
    kernel = layer.weight.shape[2:] if isinstance(layer, Conv) else layer.kernel
    pads = [*layer.padding, *layer.padding]
    return {"kernel_shape": kernel, "strides": layer.stride, "pads": pads, "dilations": dilation}
