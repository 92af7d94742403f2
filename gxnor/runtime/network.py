"""A trained network, ready to use: `gxnor.load("net.gxnor").predict(x)`. No PyTorch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from gxnor import pretrained
from gxnor.errors import GxnorError
from gxnor.program import Logits, Program, file, reference
from gxnor.runtime import images
from gxnor.runtime.engine import Engine

REFERENCE_BATCH = 16  # samples the interpreter runs at a time: its windows take megabytes each


def load(path: str | os.PathLike, threads: int = 1) -> Network:
    """The network in a `.gxnor` file, or the pretrained one of that name (`gxnor.pretrained`), on up to `threads` threads
    per call.

    Raises GxnorError if the file cannot be read or is not a `.gxnor` file."""
    return Network(file.read(pretrained.find(path)), threads)


class Classified(NamedTuple):
    """What `Network.classify` says of a sample: where it came from, the name of its class, its index, and the logits,
    float32 (classes,)."""

    input: str
    label: str
    index: int  # type: ignore[assignment]  # hides tuple.index
    logits: np.ndarray


class Network:
    """A program and what runs it: the native engine or, where that is missing, the reference interpreter, which gives
    the same numbers slowly; a RuntimeWarning says so. Any number of threads may use a network at once.

    It cannot be pickled: load the file in each process.

    Attributes:
        input_shape: (C, H, W), (C, L) or (F,).
        classes: the names of the classes; with several outputs a dict of them.
        engine: the instruction set of the engine that runs it, or "reference".
    """

    def __init__(self, program: Program, threads: int = 1):
        self._input = program.input
        self.input_shape = program.input.shape
        by_name = {output.name: output.classes for output in program.outputs}
        self.classes: tuple[str, ...] | dict[str, tuple[str, ...]] = (
            by_name if program.output_names else program.classes
        )
        self._plain = not program.output_names and len(program.outputs[0].shape) == 1
        try:
            native = Engine(program, threads)  # holds its own arrangement of the weights, so the program can go
            self.engine, self._run = native.isa, native.run
        except GxnorError as error:
            warnings.warn(f"{error}. Running on the slow reference interpreter.", RuntimeWarning, stacklevel=3)
            self.engine, self._run = "reference", lambda x: _interpret(program, x)

    def logits(self, x) -> Logits:
        """float32 (classes,) of one sample, (batch, classes) of several; (classes, *extents) and (batch, classes, *extents)
        where the network has scores for every place; a dict of such arrays where it has several outputs.

        x: an array of `input_shape` or (batch, *input_shape), uint8 pixels 0..255 or floats in [0, 1], which become
        p = round(255 x). A network whose input is states takes their indices as uint8, one whose input is real numbers
        takes those.

        Raises GxnorError for any other type, shape or range; files are for `classify`."""
        return self._each(x, lambda logits: logits)

    def predict(self, x) -> int | np.ndarray | dict[str, int | np.ndarray]:
        """The class index of one sample (int) or of each of several (int64 (batch,)), or for every place an array of them:
        the largest of `logits(x)`; a dict of those where the network has several outputs."""
        return self._each(x, lambda logits: logits.argmax(axis=1))

    def _each(self, x, function: Callable[[np.ndarray], np.ndarray]) -> Any:
        """The function of the logits (batch, classes, ...) of every output; of the one sample alone where x is one."""
        if isinstance(x, (str, os.PathLike)):
            raise GxnorError(f"expected a NumPy array, got the path {os.fspath(x)!r}: call classify(paths) for files")
        batch, single = images.from_array(x, self._input)
        logits = self._run(batch)

        def of(each: np.ndarray):
            made = function(each)[0] if single else function(each)
            return int(made) if isinstance(made, np.integer) else made

        return {name: of(each) for name, each in logits.items()} if isinstance(logits, dict) else of(logits)

    def classify(self, paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Classified]:
        """The samples in files: of the path of an image, of a folder of images (in order of their names), or of a .npy array
        as `logits` takes it; or of several such paths, one after another. Images become gray or RGB as the network wants
        them and must have its size.

        Raises GxnorError, naming the file, for what is none of them or does not fit, and for a network that has scores for
        every place or several outputs."""
        if not self._plain or isinstance(self.classes, dict):
            raise GxnorError(
                "expected a network with one score per class, got one with scores for every place or with several outputs: "
                "call predict(array)"
            )
        answers = []
        for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
            batch, names = images.from_path(path, self._input)
            for name, row in zip(names, self._run(batch), strict=True):
                best = int(row.argmax())
                answers.append(Classified(name, self.classes[best], best, row))
        return answers


def _interpret(program: Program, x: np.ndarray) -> Logits:
    starts = range(0, max(len(x), 1), REFERENCE_BATCH)
    parts: list[Any] = [reference.run(program, x[i : i + REFERENCE_BATCH]) for i in starts]
    if program.output_names:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)
