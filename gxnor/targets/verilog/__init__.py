"""The Verilog target: a circuit that works only where a non-zero weight meets a non-zero activation.

Writes into a folder: NAME.v, plain Verilog-2005 for Icarus, Verilator and Yosys; its memories as NAME_*.hex; a testbench;
NAME.json with what makes logits of the sums that the circuit gives; and a Makefile (`make sim`, `make synth`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from gxnor.errors import GxnorError, WorkError
from gxnor.program import Program, reference
from gxnor.targets.lowering import lower
from gxnor.targets.verilog import build, circuit
from gxnor.targets.verilog.plan import Plan
from gxnor.writing import write_text

IMAGES = 4  # in the testbench that is written, where no samples are given


def write(
    program: Program,
    path: Path,
    *,
    name: str | None = None,
    lanes: int = 64,
    events_per_cycle: int = 1,
    pipelined: bool = False,
    samples: np.ndarray | None = None,
) -> str:
    """Writes the circuit of a program into the folder `path`; returns what it holds.

    Args:
        name: of the module; the last part of `path` by default.
        lanes: output channels that are worked on at a time, a power of two; fewer where no layer has as many.
        events_per_cycle: neighbouring channels of a place whose events are made in the same cycle, and added by every lane
            in the same cycle: a power of two, at most `lanes`.
        pipelined: an engine for every layer, each of which works on an image of its own, instead of one engine that runs
            all layers one after the other.
        samples: images for the testbench, uint8 (n, *shape); random ones by default.

    Raises GxnorError for a name that is not an identifier, for lanes or events per cycle that are not such powers of two,
    and for programs that the circuit does not run (concatenations, layers that move values, max-pools of numbers, several
    outputs), naming the layer."""
    path = Path(path)
    name = path.resolve().name if name is None else name
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise GxnorError(f"expected a name of letters, digits and underscores for the module, got {name!r}: use --name")
    if lanes < 2 or lanes & (lanes - 1):
        raise GxnorError(f"expected a number of lanes that is a power of two from 2 on, got {lanes}")
    if events_per_cycle < 1 or events_per_cycle & (events_per_cycle - 1) or events_per_cycle > lanes:
        raise GxnorError(
            f"expected a power of two of events per cycle, at most the {lanes} lanes, got {events_per_cycle}"
        )
    if path.exists() and not path.is_dir():
        raise GxnorError(f"expected the name of a folder to write {name}.v into, got {path}, a file")
    plan = build.make(lower(program))
    made = circuit.make(plan, name, lanes, events_per_cycle, pipelined)
    if samples is None:
        states = 256 if program.input.space is None else program.input.space.size
        samples = np.random.default_rng(0).integers(states, size=(IMAGES, *program.input.shape), dtype=np.uint8)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkError(f"{path} cannot be made: {error.strerror}") from None
    for file, words in made.hex.items():
        write_text(path / f"{file}.hex", "\n".join(words) + "\n")
    write_text(path / f"{name}.v", made.verilog)
    values = made.values | {"IMAGES": len(samples), "FEW": min(IMAGES, len(samples))}
    for file, to in (("testbench.v", "testbench.v"), ("Makefile.in", "Makefile")):
        write_text(path / to, circuit.template(file, values))
    entering = program.input.integers(samples) if plan.input.signed else samples
    write_text(path / "images.hex", "\n".join(f"{p & 255:02x}" for p in entering.reshape(-1).tolist()) + "\n")
    sums = expected(program, plan, samples)
    mask = (1 << made.width) - 1
    digits = -(-made.width // 4)
    write_text(path / "sums.hex", "\n".join(f"{int(x) & mask:0{digits}x}" for x in sums.reshape(-1)) + "\n")
    last = plan.last
    about = {
        "logits": "float32(factor * sum + constant) * scale + bias, rounded to float32 after each operation",
        "classes": list(program.classes), "factor": last.factor, "constant": last.constant.tolist(),
        "scale": [float(x) for x in plan.logits.scale], "bias": [float(x) for x in plan.logits.bias],
    }  # fmt: skip
    write_text(path / f"{name}.json", json.dumps(about, indent=1) + "\n")
    engines = f"{len(made.lanes)} engines, of " if pipelined else ""
    engines += f"{', '.join(map(str, made.lanes))} lanes"
    return f"{path / name}.v: {engines}, {made.bits:,} bits of memory; try: make -C {path} sim"


def expected(program: Program, plan: Plan, samples: np.ndarray) -> np.ndarray:
    """int64 (n, classes): the sums that the circuit gives, by the reference."""
    values = reference.trace(program, samples)[plan.logits.sources[0]].reshape(len(samples), -1).astype(np.int64)
    return (values - plan.last.constant) // plan.last.factor
