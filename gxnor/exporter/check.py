"""What will become of a model, before it is trained: the walk of the export itself, part by part."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from gxnor.errors import GxnorError
from gxnor.exporter import compare
from gxnor.exporter.walk import Row, trace
from gxnor.nn.unwrap import unwrap
from gxnor.program import Input, Program
from gxnor.space import DiscreteSpace


@dataclass(frozen=True)
class Check:
    """What `check` found; `print(check)` shows it as a table.

    rows: every layer and function in the order they run. problems: why it cannot be exported, empty where it can. notes:
    where the program and PyTorch round differently, and what is left out.
    """

    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def exports(self) -> bool:
        """Whether `gxnor.export` takes the model."""
        return not self.problems

    def __str__(self) -> str:
        widths = [max((len(getattr(row, name)) for row in self.rows), default=0) for name in ("place", "what", "is_")]
        lines = [f"  {r.place:{widths[0]}}  {r.what:{widths[1]}}  {r.is_:{widths[2]}}  {r.becomes}" for r in self.rows]
        verdict = "exports" if self.exports else "cannot be exported"
        text = [f"{verdict}: {len(self.rows)} parts", *(line.rstrip() for line in lines)]
        return "\n".join(text + [f"problem: {p}" for p in self.problems] + [f"note: {n}" for n in self.notes])


def check(model: nn.Module, input_shape: Sequence[int], space: DiscreteSpace | None = None) -> Check:
    """Whether a model can be exported, and what each of its layers and functions becomes, trained or not.

    Args: as of `gxnor.export`. The model is left as it is. It is the export's own walk and comparison, so what passes here
    is exported after training too; only numbers that training makes, NaN for one, can still be in the way.

    Raises GxnorError for an invalid input shape.
    """
    source = Input(tuple(map(int, input_shape)), space)
    model = copy.deepcopy(unwrap(model)).cpu().float().eval()
    try:
        walk = trace(model, source)
    except GxnorError as error:
        return Check((), (str(error),), ())
    problems = list(walk.refused)
    if not problems:
        build = walk.build
        build.prune()
        try:
            classes = tuple(str(i) for x in build.outputs.values() for i in range(x.shape[0]))
            program = Program(build.source, tuple(build.layers), classes, output_names=build.output_names)
            with torch.no_grad():
                compare.compare(model, program, build, compare.inputs(build.source))
        except GxnorError as error:
            problems.append(str(error))
    return Check(tuple(walk.rows), tuple(problems), tuple(walk.build.warnings()))
