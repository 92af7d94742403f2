"""ONNX: a program as a model of standard operators, in floats or in integers, with the same logits on every bit.

floats: Conv, Gemm and comparisons in float32, which hold every integer up to 2^24. integers: ConvInteger and MatMulInteger.
"""

from __future__ import annotations

import os

import onnx

from gxnor.errors import GxnorError
from gxnor.program import Program
from gxnor.targets.onnx.floats import Floats
from gxnor.targets.onnx.integers import Integers
from gxnor.writing import replacing

FORMS = {"float": Floats, "integer": Integers}
OPSETS = range(13, 26)  # int4 weights need 21, int2 weights need 25


def write(program: Program, path: str | os.PathLike, *, onnx_form: str = "float", opset: int = OPSETS[-1]) -> str:
    """Writes the model to `path` and returns one line on it.

    Raises GxnorError for another form or opset, for a program whose sums floats cannot hold, and where nothing can be
    written."""
    content = model(program, onnx_form, opset).SerializeToString()
    with replacing(path) as part:
        part.write_bytes(content)
    return f"{path}: ONNX in {onnx_form} form, opset {opset}, {len(content):,} bytes"


def model(program: Program, form: str = "float", opset: int = OPSETS[-1]) -> onnx.ModelProto:
    """The program as an ONNX model, checked, with all shapes inferred.

    Its input is "pixels" (or "states"), uint8 (batch, *shape), or "reals", float32, its output "logits", float32
    (batch, classes, ...), or several by their names; tensors have the names that they have in a `.gxnor` file, "1.weight"
    for the weights of layer 1. The names of the classes are the metadata "classes", a JSON list, or an object of lists."""
    if form not in FORMS:
        raise GxnorError(f"expected an ONNX form among {', '.join(FORMS)}, got {form!r}")
    if opset not in OPSETS:
        raise GxnorError(f"expected an opset from {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    return FORMS[form](program, opset).model()
