"""The integer program: a trained network as a short list of layers, plain data, no floats before the logits.

A value is an integer array (batch, C, H, W), (batch, C, L) or (batch, F). Value 0 is the input; value i is the output
of layer i, counted from 1; a layer reads earlier values only. What a program means is fixed by `gxnor.program.reference`.

Spaces tell how states become integers (`DiscreteSpace.levels`); their range H plays no part, thresholds and the final
scale have absorbed it.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gxnor.errors import GxnorError
from gxnor.names import wrong_character
from gxnor.program.ops import NEVER, Layer, Scale
from gxnor.program.values import Value, check_ints
from gxnor.space import DiscreteSpace

MAX_ELEMENTS = 2**26  # of one value of one sample
Logits = np.ndarray | dict[str, np.ndarray]


@dataclass(frozen=True)
class Input:
    """The program's input of shape (C, H, W), (C, L) or (F,).

    space None: raw pixels, where uint8 p enters as the integer 2p - 255, that is 255 times its value in [-1, 1].
    Otherwise: state indices (uint8) of that space enter as their levels. With `low` and `scale`, float32 of one number or
    one per channel, real numbers x are taken too, in float32: index = round((x - low) * scale), halves to even, kept
    within the space."""

    shape: tuple[int, ...]
    space: DiscreteSpace | None = None
    low: np.ndarray | None = field(default=None, compare=False)
    scale: np.ndarray | None = field(default=None, compare=False)

    def indices(self, x: np.ndarray) -> np.ndarray:
        """uint8 state indices of real numbers (batch, *shape). Raises GxnorError for NaN, and if there is no `low`."""
        if self.space is None or self.low is None or self.scale is None:
            raise GxnorError(f"expected input as uint8 or signed integers, got {x.dtype}")
        each = (-1, *(1,) * (len(self.shape) - 1))
        index = np.rint((x.astype(np.float32) - self.low.reshape(each)) * self.scale.reshape(each))
        if np.isnan(index).any():
            raise GxnorError("expected real numbers, got NaN: fill in what is missing first")
        return index.clip(0, self.space.size - 1).astype(np.uint8)

    def integers(self, x) -> np.ndarray:
        """int32 (batch, *shape): value 0 for a batch of uint8 pixels or state indices. Signed integers are taken to be
        value 0 already. Raises GxnorError for a wrong type, shape or range."""
        x = np.asarray(x)
        if x.ndim != len(self.shape) + 1 or x.shape[1:] != self.shape:
            raise GxnorError(f"expected input of shape (batch, {', '.join(map(str, self.shape))}), got {x.shape}")
        if x.dtype.kind == "f":
            x = self.indices(x)
        if x.dtype == np.uint8:
            if self.space is None:
                return 2 * x.astype(np.int32) - 255
            if x.size and x.max() >= self.space.size:
                raise GxnorError(f"expected state indices below {self.space.size}, got {x.max()}")
            return self.space.levels[x]
        if x.dtype.kind != "i":
            raise GxnorError(f"expected input as uint8 or signed integers, got {x.dtype}")
        allowed = np.arange(-255, 256, 2) if self.space is None else self.space.levels
        if not np.isin(x, allowed).all():
            raise GxnorError(f"expected integers among {allowed[0]}, {allowed[1]} .. {allowed[-1]}, got others")
        return x.astype(np.int32)

    def value(self) -> Value:
        """Value 0. Raises GxnorError for an invalid shape."""
        check_ints("input shape", self.shape, 1, MAX_ELEMENTS)
        if not 1 <= len(self.shape) <= 3:
            raise GxnorError(f"input: expected a shape (C, H, W), (C, L) or (F,), got {self.shape}")
        if self.low is not None:
            _check_grid(self)
        return Value(self.shape, 255 if self.space is None else self.space.denominator, self.space)


@dataclass(frozen=True)
class Output:
    """What a Scale layer gives: the number of its value, the shape of a sample's logits, and a class name for each entry of
    its first axis."""

    name: str
    number: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """An input, layers in the order they run, the last of them one Scale per output, and one class name per logit. Checked
    when it is made.

    classes: of all outputs, one after the other. data: the name of the data set the network was trained for, where it has
    one; `gxnor eval` reads its test images. output_names: one per Scale layer where there are several; a single output needs
    none.

    Raises GxnorError, naming the layer, where shapes do not fit, a field is wrong, or a sum could leave int32."""

    input: Input
    layers: tuple[Layer, ...]
    classes: tuple[str, ...]
    data: str | None = None
    output_names: tuple[str, ...] = ()

    def __post_init__(self):
        self.validate()

    @functools.cached_property
    def values(self) -> tuple[Value, ...]:
        """Shape, bound and space of every value: 0 is the input, i the output of layer i."""
        values = [self.input.value()]
        _admit(values[0])
        for number, layer in enumerate(self.layers, 1):
            try:
                if layer.arity is not None and len(layer.inputs) != layer.arity:
                    raise GxnorError(f"expected {layer.arity} inputs, got {len(layer.inputs)}")
                check_ints("inputs", layer.inputs, 0, number - 1)
                values.append(layer.infer(*(values[i] for i in layer.inputs)))
                _admit(values[-1])
            except GxnorError as error:
                raise GxnorError(f"layer {number} ({type(layer).__name__}): {error}") from None
        return tuple(values)

    @functools.cached_property
    def outputs(self) -> tuple[Output, ...]:
        """In the order of their layers; a single one is called "logits"."""
        names, found, at = self.output_names or ("logits",), [], 0
        for number, name in enumerate(names, len(self.layers) - len(names) + 1):
            shape = self.values[number].shape
            found.append(Output(name, number, shape, self.classes[at : at + shape[0]]))
            at += shape[0]
        return tuple(found)

    def named(self, logits: Sequence[np.ndarray]) -> Logits:
        """What a run gives, of the logits of every output: those of the only one, or a dict by their names."""
        if not self.output_names:
            return logits[0]
        return {output.name: each for output, each in zip(self.outputs, logits, strict=True)}

    @property
    def largest_sum(self) -> int:
        """No integer in the program can be larger in size. Up to 2^24, float32 arithmetic on them is exact."""
        return max(value.bound for value in self.values)

    def validate(self) -> None:
        """Checks everything that can be checked without data; see the class."""
        scales, count = [isinstance(layer, Scale) for layer in self.layers], len(self.output_names) or 1
        if not any(scales) or scales.index(True) != len(scales) - count or not all(scales[-count:]):
            raise GxnorError(
                "expected a program that ends in its one Scale layer, or in as many as it has names of outputs"
            )
        values, body = self.values, len(self.layers) - count
        used = {i for layer in self.layers for i in layer.inputs}
        if read := [i for i in used if i > body]:
            raise GxnorError(f"value {read[0]} is logits, which no layer may read")
        if unused := [i for i in range(body + 1) if i not in used]:
            raise GxnorError(f"value {unused[0]} is used by no layer")
        for name in self.classes:
            _check_name("class names", name)
        for name in self.output_names:
            _check_name("names of outputs", name)
        if len(self.output_names) == 1 or len(set(self.output_names)) < len(self.output_names):
            raise GxnorError(f"expected no names of outputs, or several that differ, got {self.output_names!r:.60}")
        if self.data is not None:
            _check_name("the name of a data set", self.data)
        logits = sum(value.shape[0] for value in values[-count:])
        if len(self.classes) != logits:
            raise GxnorError(f"expected a class name for each of {logits} logits, got {len(self.classes)}")

    def save(self, path: str | os.PathLike) -> None:
        """Writes the program as a `.gxnor` file, whole or not at all; `gxnor.load` reads it. Raises as `file.save`."""
        from gxnor.program import file  # `file` reads programs: it cannot be imported before this module

        file.save(self, path)


def _check_name(what: str, name) -> None:
    if not isinstance(name, str):
        raise GxnorError(f"expected {what} as text, got {name!r:.60}")
    if character := wrong_character(name):
        raise GxnorError(f"expected {what} in printable characters, got {name!r:.60}, which has {character}")


def _check_grid(given: Input) -> None:
    arrays = given.low, given.scale
    if (
        given.space is None
        or given.low is None
        or given.scale is None
        or any(
            not isinstance(a, np.ndarray) or a.dtype != np.float32 or a.shape not in ((1,), given.shape[:1])
            for a in arrays
        )
    ):
        raise GxnorError(f"input: expected a space, and low and scale as float32 (1,) or {given.shape[:1]}")
    if not (np.isfinite(given.low).all() and np.isfinite(given.scale).all() and (given.scale > 0).all()):
        raise GxnorError("input: expected a finite low and a positive scale")


def _admit(value: Value) -> None:
    if math.prod(value.shape) > MAX_ELEMENTS:
        raise GxnorError(f"a value of shape {value.shape} has more than {MAX_ELEMENTS} elements")
    if value.bound >= NEVER:
        raise GxnorError(f"a sum could reach {value.bound} and leave int32")
