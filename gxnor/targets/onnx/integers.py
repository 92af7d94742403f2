"""The integer form: ConvInteger and MatMulInteger, states in int8, sums in int32. It holds every program."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from gxnor.program import Conv, MaxPool, Scale, StateTensor, SumPool, Value
from gxnor.space import DiscreteSpace
from gxnor.targets.onnx.floats import EXACT, Floats, window

BASE = 128


class Integers(Floats):
    """Every value is int32; the operators on int8 take what they read as its digits in base 128."""

    dtype = TensorProto.INT32

    def check(self) -> None:
        pass

    def digits(self, name: str, x: str, bound: int) -> list[str]:
        """int8 digits -127 to 127, lowest first: x = sum of 128^i digit_i."""
        digits: list[str] = []
        while bound >= BASE:
            at = f"{name}.digit{len(digits)}"
            base = self.constant(f"{at}.base", BASE)
            rest = self.node("Div", [x, base], f"{at}.rest")  # rounds towards zero
            low = self.node("Sub", [x, self.node("Mul", [rest, base], f"{at}.multiple")], f"{at}.int32")
            digits.append(self.node("Cast", [low], at, to=TensorProto.INT8))
            x, bound = rest, bound // BASE
        return [*digits, self.node("Cast", [x], f"{name}.digit{len(digits)}", to=TensorProto.INT8)]

    def summed(self, name: str, x: str, source: Value, op: str, weight: str, **attributes) -> str:
        """The sums of an operator on int8, digit by digit, the highest first: y = (... 128 + sum_1) 128 + sum_0."""
        *lower, highest = self.digits(name, x, source.bound)
        total = self.node(op, [highest, weight], f"{name}.sum{len(lower)}" if lower else name, **attributes)
        for i, digit in reversed(list(enumerate(lower))):
            total = self.affine(total, f"{name}.above{i}", BASE, 0)
            part = self.node(op, [digit, weight], f"{name}.sum{i}", **attributes)
            total = self.node("Add", [total, part], f"{name}.total{i}" if i else name)
        return total

    def weight(self, name: str, weight: StateTensor) -> str:
        return self.int8(name, weight.levels(), weight.space)

    def int8(self, name: str, values: np.ndarray, space: DiscreteSpace) -> str:
        small = self.small(name, values, space)
        return self.node("Cast", [small], f"{name}.levels", to=TensorProto.INT8)

    def ones(self, name: str, shape: tuple[int, ...]) -> str:
        return self.constant(name, np.ones(shape), TensorProto.INT8)

    def conv(self, name: str, x: str, source: Value, weight: str, layer: Conv | SumPool, dilation, groups: int) -> str:
        return self.summed(name, x, source, "ConvInteger", weight, **window(layer, dilation), group=groups)

    def dense(self, name: str, x: str, source: Value, weight_name: str, weight: StateTensor) -> str:
        levels = self.int8(weight_name, weight.levels().T, weight.space)
        return self.summed(name, x, source, "MatMulInteger", levels)

    def max_pool(self, name: str, x: str, source: Value, out: Value, layer: MaxPool, real=None) -> str:
        """In floats that hold the integers, for ONNX pools floats and bytes alone."""
        real = TensorProto.FLOAT if source.bound <= EXACT else TensorProto.DOUBLE
        x = self.node("Cast", [x], f"{name}.float", to=real)
        x = super().max_pool(f"{name}.largest", x, source, out, layer, real)
        return self.node("Cast", [x], name, to=self.dtype)

    def scale(self, x: str, out: Value, number: int, layer: Scale) -> str:
        return super().scale(self.node("Cast", [x], f"{number}.float", to=TensorProto.FLOAT), out, number, layer)
