"""The Verilog target: a circuit that works only where a non-zero weight meets a non-zero activation.

Writes into a folder: NAME.v, plain Verilog-2005 for Icarus, Verilator and Yosys; its memories as NAME_*.hex; a testbench;
NAME.json with what makes logits of the sums that the circuit gives; and a Makefile (`make sim`, `make synth`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Template
from typing import Any, ClassVar

import numpy as np

from gxnor.errors import GxnorError, WorkError
from gxnor.program import Program, reference
from gxnor.targets.lowering import lower
from gxnor.targets.verilog import build, memories
from gxnor.targets.verilog.plan import Plan
from gxnor.writing import write_text

HERE = Path(__file__).parent
IMAGES = 4  # in the testbench that is written, where no samples are given


def write(
    program: Program, path: Path, *, name: str | None = None, lanes: int = 64, samples: np.ndarray | None = None
) -> str:
    """Writes the circuit of a program into the folder `path`; returns what it holds.

    Args:
        name: of the module; the last part of `path` by default.
        lanes: output channels that are worked on at a time, a power of two; fewer where no layer has as many.
        samples: images for the testbench, uint8 (n, *shape); random ones by default.

    Raises GxnorError for a name that is not an identifier, and for programs that the circuit does not run (concatenations,
    layers that move values, max-pools of numbers, several outputs), naming the layer."""
    path = Path(path)
    name = path.resolve().name if name is None else name
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise GxnorError(f"expected a name of letters, digits and underscores for the module, got {name!r}: use --name")
    if lanes < 2 or lanes & (lanes - 1):
        raise GxnorError(f"expected a number of lanes that is a power of two from 2 on, got {lanes}")
    if path.exists() and not path.is_dir():
        raise GxnorError(f"expected the name of a folder to write {name}.v into, got {path}, a file")
    plan = build.make(lower(program))
    lanes = min(
        lanes, max(2, 1 << (max(sums.shape[0] for sums in plan.sums) - 1).bit_length())
    )  # no more than are of use
    filled = memories.fill(plan, lanes, name)
    if samples is None:
        states = 256 if program.input.space is None else program.input.space.size
        samples = np.random.default_rng(0).integers(states, size=(IMAGES, *program.input.shape), dtype=np.uint8)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkError(f"{path} cannot be made: {error.strerror}") from None
    for file, words in filled.hex.items():
        write_text(path / f"{name}_{file}.hex", "\n".join(words) + "\n")
    values = filled.values | {"IMAGES": len(samples), "FEW": min(IMAGES, len(samples))}
    for file, to in (("network.v", f"{name}.v"), ("testbench.v", "testbench.v"), ("Makefile.in", "Makefile")):
        text = (HERE / file).read_text(encoding="utf-8")
        write_text(path / to, _Template(text).substitute(values))
    entering = program.input.integers(samples) if plan.input.signed else samples
    write_text(path / "images.hex", "\n".join(f"{p & 255:02x}" for p in entering.reshape(-1).tolist()) + "\n")
    sums = expected(program, plan, samples)
    width = int(filled.values["A"])
    mask = (1 << width) - 1
    digits = -(-width // 4)
    write_text(path / "sums.hex", "\n".join(f"{int(x) & mask:0{digits}x}" for x in sums.reshape(-1)) + "\n")
    last = plan.last
    about = {
        "logits": "float32(factor * sum + constant) * scale + bias, rounded to float32 after each operation",
        "classes": list(program.classes), "factor": last.factor, "constant": last.constant.tolist(),
        "scale": [float(x) for x in plan.logits.scale], "bias": [float(x) for x in plan.logits.bias],
    }  # fmt: skip
    write_text(path / f"{name}.json", json.dumps(about, indent=1) + "\n")
    return f"{path / name}.v: {lanes} lanes, {filled.bits:,} bits of memory; try: make -C {path} sim"


def expected(program: Program, plan: Plan, samples: np.ndarray) -> np.ndarray:
    """int64 (n, classes): the sums that the circuit gives, by the reference."""
    values = reference.trace(program, samples)[plan.logits.sources[0]].reshape(len(samples), -1).astype(np.int64)
    return (values - plan.last.constant) // plan.last.factor


class _Template(Template):
    """`$NAME` in capitals alone, so that Verilog's own $readmemh stays."""

    flags: ClassVar[Any] = 0
    pattern: ClassVar[Any] = (
        r"\$(?:(?P<escaped>\$)|(?P<named>[A-Z][A-Z_]*)|\{(?P<braced>[A-Z][A-Z_]*)\}|(?P<invalid>(?!)))"
    )
