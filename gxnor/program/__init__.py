"""The integer program: what a trained network ships as.

program: the program and its input. ops: its layers as plain data. reference: what it means, in NumPy. file: `.gxnor` files.
"""

from gxnor.program.ops import (
    ALWAYS,
    LAYERS,
    NEVER,
    Add,
    Conv,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    Scale,
    StateTensor,
    SumPool,
    Threshold,
    Value,
)
from gxnor.program.program import Input, Program

__all__ = [
    "ALWAYS", "LAYERS", "NEVER", "Add", "Conv", "Dense", "Flatten", "Input", "Layer", "MaxPool", "Program", "Scale",
    "StateTensor", "SumPool", "Threshold", "Value",
]  # fmt: skip
