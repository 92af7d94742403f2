"""The C target: one `.c` and one `.h` of C99 for microcontrollers and any other machine with a C compiler."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from gxnor.errors import GxnorError, WorkError
from gxnor.program import Program
from gxnor.targets.c import choice, costs, source
from gxnor.targets.c.calls import Plan
from gxnor.writing import write_text

KEYWORDS = (  # of C and C++
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while and asm bool "
    "catch class delete explicit export false friend mutable namespace new not operator or private protected public "
    "template this throw true try typename using virtual xor main"
)


def write(
    program: Program,
    path: Path,
    *,
    name: str | None = None,
    arena: int | None = None,
    samples: np.ndarray | None = None,
) -> str:
    """Writes NAME.c and NAME.h into the folder `path`; returns what they take.

    Args:
        name: what files and functions are called; the last part of `path` by default.
        samples: typical inputs, uint8 (n, *shape). States that are frequent among them are taken as rest, which makes the
            code faster; what it computes does not depend on them.
        arena: refuse a network that needs more bytes of RAM than this.

    Raises GxnorError for a name that is not a C identifier and for a network that the arena or the kernels do not fit."""
    path = Path(path)
    name = identifier(path.resolve().name if name is None else name)
    if path.exists() and not path.is_dir():
        raise GxnorError(f"expected the name of a folder to write {name}.c and {name}.h into, got {path}, a file")
    plan = choice.plan(program, samples)
    if arena is not None and plan.ram > arena:
        raise GxnorError(f"expected a network that runs in {arena:,} bytes of RAM, got one that needs {plan.ram:,}")
    counts = costs.expected(plan, samples)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkError(f"{path} cannot be made: {error.strerror}") from None
    write_text(path / f"{name}.c", source.source(plan, name, counts))
    write_text(path / f"{name}.h", source.header(plan, name))
    return _report(plan, counts, path / name, samples is not None)


def _report(plan: Plan, counts: list[Counter], name: Path, sampled: bool) -> str:
    """What the network takes on every core, for the user."""
    lines = [f"{name}.c, {name.name}.h: {plan.flash:,} bytes of tables, {plan.ram:,} bytes of RAM, and the stack"]
    lines.append(f"{'core':<12}{'flash':>9}{'instructions':>14}   for one input, compiled with -Os")
    for core in costs.cores():
        flash = plan.flash + costs.code(plan, core)
        lines.append(f"{core:<12}{flash:>9,}{round(sum(costs.instructions(plan, counts, core))):>14,}")
    if not sampled:
        lines.append(
            "with all states equally likely; --data NAME (typical images) makes the code faster and this estimate closer"
        )
    return "\n".join(lines)


def identifier(name: str) -> str:
    """Raises GxnorError unless C and C++ allow the name for a function, with `_predict` after it."""
    if name in KEYWORDS.split():
        raise GxnorError(f"expected a name of your own, got {name!r}, a word of C or C++: give one with --name")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", name):
        raise GxnorError(
            f"expected a C identifier of at most 41 characters that begins with a letter, got {name!r:.60}: "
            "give one with --name"
        )
    return name
