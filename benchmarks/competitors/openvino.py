"""OpenVINO on the CPU: the float network, and the fastest of its static int8 forms, which ONNX Runtime makes."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import openvino

from benchmarks.competitors import inputs
from benchmarks.competitors import onnx as models
from gxnor.program import Program

SEVERAL_OUTPUTS = True


def build(program: Program, x: np.ndarray, threads: int) -> dict[str, tuple[Callable[[], np.ndarray], dict]]:
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    given = inputs(program, x)

    def contestant(model, form: str):
        compiled = core.compile_model(core.read_model(io.BytesIO(model.SerializeToString())), "CPU", settings)
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(given))

        def run() -> np.ndarray:
            request.infer()
            return request.get_output_tensor(0).data

        about = {"openvino": openvino.__version__.split("-")[0], "form": form, "threads": threads}
        return run, about

    return {
        "openvino": contestant(models.float_model(program, len(x)), "float32"),
        "openvino-int8": models.fastest_int8(program, len(x), contestant),
    }
