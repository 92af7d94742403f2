"""The layers of a network by every kernel that could run them: instructions on a core, each checked against the reference.

    python -m benchmarks.cores.kernels FILE.gxnor --data mnist [--core M4 ...]

events: the kernel of events of activations, pooling and thresholds included. planes: the bit planes' kernel, pooling and
thresholds included. weights: events of weights, sums alone; a program of its own (weights.c), since exported C has no such
kernel. Its table of events stands beside the bytes of the other two.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.cores import CORES, HERE, call, command, emulate, link
from benchmarks.cores.layers import measure
from gxnor.program import Program, reference
from gxnor.targets import rest
from gxnor.targets.c import calls, tables
from gxnor.targets.c import plan as planning
from gxnor.targets.lowering import lower
from gxnor.targets.stages import Linear, Lowered

EVERY = 8  # events of a list are a multiple of this


@dataclass(frozen=True)
class Taken:
    """By one kernel: instructions for an input, bytes of tables; None where it cannot run the layer."""

    instructions: float | None
    flash: int | None


def compare(program: Program, x: np.ndarray, typical: np.ndarray, core: str) -> list[tuple[str, list[Taken]]]:
    """Every layer that can be run by bit planes: its name, and what events, planes and weights take. Raises WorkError where
    a kernel differs from the reference."""
    lowered = lower(program)
    rests = rest.states(lowered, typical)
    stages = [stage for stage in lowered.stages if planning.has_planes(lowered, stage)]
    taken = []
    for planes in (frozenset(), frozenset(stage.result for stage in stages)):
        plan = planning.make(lowered, rests, planes)
        with TemporaryDirectory() as folder:
            steps = list(zip(plan.steps, measure(plan, x, core, Path(folder)), strict=True))
        for stage in stages:
            own = [(step, number) for step, number in steps if step.stage is stage]
            taken.append(Taken(sum(number for _, number in own), sum(step.flash for step, _ in own)))
    rows = []
    for number, stage in enumerate(stages):
        weights = by_weights(lowered, stage, x[:1], core)
        rows.append((calls.layer_names(lowered, stage), [taken[number], taken[len(stages) + number], weights]))
    return rows


def by_weights(lowered: Lowered, stage: Linear, x: np.ndarray, core: str) -> Taken:
    """For windows that lie row by row: no padding, a stride and a dilation of 1."""
    channels, *extents = lowered.values[stage.sources[0]].shape
    window, outputs = stage.window, len(stage.weight)
    words = -(-extents[0] * extents[1] // tables.LANES) + 1
    lasts = channels * words * tables.LANES
    if (window.stride, window.padding, window.dilation) != ((1, 1), (0, 0), (1, 1)) or lasts >= 2**16:
        return Taken(None, None)
    value = reference.trace(lowered.program, x)[stage.sources[0]].reshape(channels, -1)
    flat = np.full((channels, words * tables.LANES), -1, dtype=np.int64)
    flat[:, : value.shape[1]] = value
    states = np.stack([tables.words((flat == level).T.copy()) for level in (1, 0)], axis=-1)  # (words, channels, 2)
    every = (window.stride, window.padding, window.dilation, 1)
    sums = reference.conv(value.reshape(1, channels, *extents), stage.weight, *every)
    offsets = (
        np.arange(channels)[:, None, None] * words * tables.LANES + np.arange(window.kernel[0])[:, None] * extents[1]
    )
    offsets = offsets + np.arange(window.kernel[1])
    events, counts, biases = [], [], []
    for weight in stage.weight:
        lists = [offsets[weight == sign].tolist() for sign in (-1, 1)]
        biases.append(1 + len(lists[0]) - len(lists[1]))
        lists = [found + [lasts] * (-len(found) % EVERY) for found in lists]
        events += [*lists[0], *lists[1]]
        counts.append([len(found) for found in lists])
    planes = int(2 * channels * window.kernel[0] * window.kernel[1]).bit_length() + 1
    span = (window.count[0] - 1) * extents[1] + window.count[1]
    text = {
        "CHANNELS": channels, "WORDS": words, "OUTPUTS": outputs, "GROUPS": -(-span // tables.LANES), "PLANES": planes,
        "PLACES": window.count[0] * window.count[1], "WIDTH": window.count[1], "IN_WIDTH": extents[1],
        "INPUT": _pairs(states.transpose(1, 0, 2).reshape(-1, 2).tolist()), "EVENTS": ", ".join(map(str, events)),
        "COUNTS": _pairs(counts), "BIASES": ", ".join(map(str, biases)),
        "EXPECTED": _pairs(sums.reshape(outputs, -1).tolist()),
    }  # fmt: skip
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "layer.h").write_text("".join(f"#define {key} {value}\n" for key, value in text.items()))
        flags = [*CORES[core].flags.split(), "-Os", "-ffunction-sections", "-fdata-sections"]
        call([CORES[core].compiler, *flags, "-I.", "-c", HERE / "weights.c"], folder)
        link(CORES[core], flags, folder, HERE / "mark.c", "weights.o")
        start, end, _ = emulate(CORES[core], folder)
    return Taken(end - start, 2 * len(events) + 4 * outputs + 2 * outputs)


def _pairs(rows: list[list[int]]) -> str:
    return ", ".join("{" + ", ".join(map(str, row)) + "}" for row in rows)


def main() -> int:
    parser = command.parser(__doc__, images=10)
    parser.add_argument("--core", action="append", choices=CORES)
    arguments = parser.parse_args()
    program, images, _, typical = command.read(arguments)
    for core in arguments.core or ("M4", "RV32IMC", "RV32IMC_Zbb"):
        print(f"{core:<28}{'events':>10}{'planes':>12}{'weights':>12}   bytes of tables")
        for label, kernels in compare(program, images, typical, core):
            numbers = ["-" if kernel.instructions is None else f"{kernel.instructions:,.0f}" for kernel in kernels]
            flash = ["-" if kernel.flash is None else f"{kernel.flash:,}" for kernel in kernels]
            print(f"{label:<28}{numbers[0]:>10}{numbers[1]:>12}{numbers[2]:>12}   {', '.join(flash)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
