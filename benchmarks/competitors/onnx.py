"""ONNX models for the engines that read them: the float network of a program's shape, and its forms in int8.

The int8 forms are ONNX Runtime's static quantisation: QDQ, weights per channel, ranges from random images; activations
signed, signed with 0 at 0, or unsigned.
"""

from __future__ import annotations

import tempfile
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

from benchmarks.competitors import inputs, weights
from gxnor.program import Program
from gxnor.program.ops import (
    Add,
    Channels,
    Concat,
    Conv,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    Pad,
    Requantize,
    Scale,
    SumPool,
    Threshold,
    Upsample,
)  # fmt: skip


def float_model(program: Program, batch: int) -> onnx.ModelProto:
    """The network for batches of this size; input "0", outputs by their values' numbers."""
    nodes, constants = [], []

    def constant(name: str, values: np.ndarray, dtype=np.float32) -> str:
        constants.append(numpy_helper.from_array(values.astype(dtype), name))
        return name

    for number, layer in enumerate(program.layers, start=1):
        nodes += _nodes(layer, str(number), constant, len(program.values[number].shape))
    shape = (batch, *program.input.shape)
    graph = helper.make_graph(
        nodes, "network",
        [helper.make_tensor_value_info("0", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(str(end.number), TensorProto.FLOAT, (batch, *end.shape))
            for end in program.outputs
        ],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


def fastest_int8(program: Program, batch: int, contestant: Callable) -> tuple[Callable[[], np.ndarray], dict]:
    """`contestant(model, form)`, a pair (run, about), of the float network quantised in the form that it runs fastest."""
    fastest, least = None, float("inf")
    for form, model in _int8_models(program, batch):
        run, about = contestant(model, f"int8, static QDQ, per channel, {form}")
        seconds = min(timeit.repeat(run, repeat=5, number=1))
        if seconds < least:
            fastest, least = (run, about), seconds
    return fastest


def _int8_models(program: Program, batch: int) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The forms that one processor or another prefers: which, depends on what its multipliers take."""
    top = 256 if program.input.space is None else program.input.space.size
    x = np.random.default_rng(1).integers(top, size=(batch, *program.input.shape), dtype=np.uint8)

    class Images(quantization.CalibrationDataReader):
        left = 4

        def get_next(self) -> dict | None:
            self.left -= 1
            return {"0": inputs(program, x)} if self.left >= 0 else None

    signed, unsigned = quantization.QuantType.QInt8, quantization.QuantType.QUInt8
    with tempfile.TemporaryDirectory() as folder:
        path, ready = Path(folder) / "int8.onnx", Path(folder) / "float.onnx"
        quantization.quant_pre_process(float_model(program, batch), ready, skip_symbolic_shape=True)
        for form, activations, symmetric in (
            ("signed", signed, False),
            ("signed and symmetric", signed, True),
            ("unsigned", unsigned, False),
        ):
            quantization.quantize_static(
                ready, path, Images(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
                activation_type=activations, weight_type=signed, extra_options={"ActivationSymmetric": symmetric},
            )  # fmt: skip
            yield form, onnx.load(path)


def _nodes(layer: Layer, name: str, constant, axes: int) -> list[onnx.NodeProto]:
    """`axes`: of a sample's value."""
    names, end = [str(i) for i in layer.inputs], [name]
    match layer:
        case Conv() | Dense():
            values = weights(layer)
            weight, bias = constant(f"w{name}", values), constant(f"b{name}", np.zeros(len(values)))
            if isinstance(layer, Dense):
                return [helper.make_node("Gemm", [*names, weight, bias], end, transB=1)]
            return [
                helper.make_node(
                    "Conv", [*names, weight, bias], end, strides=layer.stride, dilations=layer.dilation,
                    pads=[*layer.padding, *layer.padding], group=layer.groups,
                )
            ]  # fmt: skip
        case Threshold():
            return [helper.make_node("Relu", names, end)]
        case MaxPool():
            return [
                helper.make_node(
                    "MaxPool", names, end, kernel_shape=layer.kernel, strides=layer.stride, dilations=layer.dilation,
                    pads=[*layer.padding, *layer.padding], ceil_mode=int(layer.ceil_mode),
                )
            ]  # fmt: skip
        case SumPool():
            return [
                helper.make_node(
                    "AveragePool", names, end, kernel_shape=layer.kernel, strides=layer.stride,
                    pads=[*layer.padding, *layer.padding], count_include_pad=1,
                )
            ]  # fmt: skip
        case Add():
            return [helper.make_node("Add", names, end)]
        case Requantize():  # batch norm, which float networks have folded into the convolution before it
            return [helper.make_node("Identity", names, end)]
        case Flatten():
            return [helper.make_node("Flatten", names, end)]
        case Concat():
            return [helper.make_node("Concat", names, end, axis=1)]
        case Pad():
            sizes = np.array([0, 0, *layer.before, 0, 0, *layer.after], dtype=np.int64)
            return [_small(f"p{name}", sizes), helper.make_node("Pad", [*names, f"p{name}"], end)]
        case Upsample():
            factors = _small(f"f{name}", np.array([1, 1, *layer.factors], dtype=np.float32))
            how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return [factors, helper.make_node("Resize", [*names, "", f"f{name}"], end, **how)]
        case Channels():
            return [helper.make_node("Gather", [*names, constant(f"o{name}", layer.order, np.int64)], end, axis=1)]
        case Scale():
            scaled, each = f"s{name}", (-1, *(1,) * (axes - 1))
            return [
                helper.make_node("Mul", [*names, constant(f"m{name}", layer.scale.reshape(each))], [scaled]),
                helper.make_node("Add", [scaled, constant(f"a{name}", layer.bias.reshape(each))], end),
            ]


def _small(name: str, values: np.ndarray) -> onnx.NodeProto:
    """A constant that shapes follow from, in the graph: quantising lays initializers outside, where they are not read."""
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))
