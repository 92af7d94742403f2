"""ONNX Runtime on the CPU: the float network, and the fastest of its static int8 forms (QDQ, per channel)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime

from benchmarks.competitors import inputs
from benchmarks.competitors import onnx as models
from gxnor.program import Program

SEVERAL_OUTPUTS = True


def build(program: Program, x: np.ndarray, threads: int) -> dict[str, tuple[Callable[[], np.ndarray], dict]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    given = {"0": inputs(program, x)}

    def contestant(model, form: str):
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        about = {"onnxruntime": onnxruntime.__version__, "form": form, "threads": threads}
        return lambda: session.run(None, given)[0], about

    return {
        "onnxruntime": contestant(models.float_model(program, len(x)), "float32"),
        "onnxruntime-int8": models.fastest_int8(program, len(x), contestant),
    }
