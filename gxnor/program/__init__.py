"""The integer program: what a trained network ships as.

program: the program and its input. ops: its layers as plain data. values: what they read and hold. reference: what it
means, in NumPy. file: `.gxnor` files.
"""

from gxnor.program.ops import (
    ALWAYS,
    LAYERS,
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
    Requantize,
    Scale,
    SumPool,
    Threshold,
    Upsample,
)
from gxnor.program.program import Input, Logits, Output, Program
from gxnor.program.values import StateTensor, Value

__all__ = [
    "ALWAYS", "LAYERS", "NEVER", "Add", "Channels", "Concat", "Conv", "Dense", "Flatten", "Input", "Layer", "Logits",
    "MaxPool", "Output", "Pad", "Program", "Requantize", "Scale", "StateTensor", "SumPool", "Threshold", "Upsample", "Value",
]  # fmt: skip
