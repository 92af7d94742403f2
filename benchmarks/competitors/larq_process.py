"""What `larq.py` runs in the other interpreter: builds, converts and times a network.

python -I larq_process.py NETWORK.npz THREADS

Prints a line about itself, then for every line on its input, a number of calls, the seconds per call and the logits.
Every line it prints is JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # Larq is made for Keras 2

import larq
import larq_compute_engine as lce
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers as keras


def network(specs: list[dict], arrays: dict[str, np.ndarray]) -> tf.keras.Model:
    values = [keras.Input(arrays["x"].shape[1:], batch_size=len(arrays["x"]))]
    for number, spec in enumerate(specs, start=1):
        x = [values[i] for i in spec["inputs"]]
        match spec["kind"]:
            case "Conv" | "Dense":
                weight, first = arrays[f"weight{number}"], spec["inputs"] == [0]
                layer = larq.layers.QuantConv2D(
                    weight.shape[-1], weight.shape[:2], spec["stride"], "same" if spec["padded"] else "valid",
                    dilation_rate=spec["dilation"], pad_values=0 if first else 1, use_bias=False,
                    input_quantizer=None if first else "ste_sign",
                    kernel_quantizer="ste_sign", kernel_constraint="weight_clip",
                )  # fmt: skip
                y = layer(x[0])
                layer.set_weights([weight])
            case "Threshold" | "Scale":
                scale, bias = arrays[f"scale{number}"], arrays[f"bias{number}"]
                layer = keras.BatchNormalization(epsilon=0)
                y = layer(x[0])
                layer.set_weights([scale, bias, np.zeros_like(bias), np.ones_like(bias)])
                if spec["kind"] == "Threshold":
                    y = larq.quantizers.SteSign()(y)
            case "MaxPool" | "SumPool":
                kind = keras.MaxPool2D if spec["kind"] == "MaxPool" else keras.AveragePooling2D
                y = kind(spec["kernel"], spec["stride"], "same" if spec["padded"] else "valid")(x[0])
            case "Add":
                y = keras.Add()([value * factor for value, factor in zip(x, spec["factors"])])  # noqa: B905
            case "Flatten":
                y = x[0]
        assert list(y.shape[1:]) == spec["shape"], f"layer {number}: Larq's padding makes {y.shape} of {x[0].shape}"
        values.append(y)
    return tf.keras.Model(values[0], keras.Flatten()(values[-1]))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is not an answer
    with np.load(sys.argv[1]) as arrays:
        arrays = dict(arrays)
    model, x = lce.convert_keras_model(network(json.loads(str(arrays["layers"])), arrays)), [arrays["x"]]

    def timed(predict, calls: int) -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        for _ in range(calls):
            logits = predict(x)
        return (time.perf_counter() - start) / calls, logits[0]

    quickest = None
    for indirect in (True, False):
        for xnnpack in (True, False):
            interpreter = lce.testing.Interpreter(
                model, int(sys.argv[2]), use_indirect_bgemm=indirect, use_xnnpack=xnnpack
            ).interpreter
            calls = 3 + int(0.3 / timed(interpreter.predict, 1)[0])
            seconds = min(timed(interpreter.predict, 1)[0] for _ in range(calls))
            if quickest is None or seconds < quickest[0]:
                quickest = seconds, interpreter.predict, {"indirect": indirect, "xnnpack": xnnpack}
    versions = {"larq-compute-engine": lce.__version__, "tensorflow": tf.__version__}
    print(json.dumps(versions | {"form": "binary, first layer float32"} | quickest[2]), file=answers, flush=True)
    for line in sys.stdin:
        seconds, logits = timed(quickest[1], int(line))
        print(json.dumps({"seconds": seconds, "logits": logits.tolist()}), file=answers, flush=True)


if __name__ == "__main__":
    main()
