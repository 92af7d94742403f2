"""Instructions of a network on a core, step by step.

python -m benchmarks.cores.layers FILE.gxnor --data mnist [--core M4]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.cores import CORES, HERE, call, command, emulate, link, write_images, write_source
from gxnor.targets.c import choice, costs
from gxnor.targets.c.calls import Plan


def measure(plan: Plan, x: np.ndarray, name: str, folder: Path) -> list[float]:
    """Instructions of every step of a plan, on average over inputs (n, *shape); leaves net.o in the folder."""
    core = CORES[name]
    flags = [*core.flags.split(), "-Os", "-ffunction-sections", "-fdata-sections"]
    write_source(plan, folder)
    text = (folder / "net.c").read_text()
    head, body, tail = re.split(r"(?<=logits\)\n\{\n)((?:    .*;\n)+)(?=\}\n\nint)", text)
    body = "    mark();\n" + body.replace(";\n", ";\n    mark();\n")
    (folder / "net.c").write_text(head.replace("\nvoid", "\nvoid mark(void);\nvoid") + body + tail)
    write_images(folder / "images.h", plan.lowered.program, x, len(x))
    call([core.compiler, *flags, *core.more.split(), "-w", "-c", "net.c"], folder)
    link(core, flags, folder, HERE / "check.c", HERE / "mark.c", "net.o")
    counts = np.array(emulate(core, folder)[:-1]).reshape(len(x), len(plan.steps) + 1)
    return np.diff(counts, axis=1).mean(axis=0).tolist()


def main() -> int:
    parser = command.parser(__doc__, images=20)
    parser.add_argument("--core", choices=CORES, default="M4")
    arguments = parser.parse_args()
    program, images, _, typical = command.read(arguments)
    plan = choice.plan(program, typical)
    with TemporaryDirectory() as folder:
        found = measure(plan, images, arguments.core, Path(folder))
    print(f"{'layers':<28}{'kernel':<18}{'measured':>12}{'predicted':>12}")
    predicted = costs.instructions(plan, costs.expected(plan, images), arguments.core)
    for step, number, said in zip(plan.steps, found, predicted, strict=True):
        print(f"{step.label:<28}{step.kernel:<18}{number:>12,.0f}{said:>12,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
