"""Measures what exported C costs on every core and writes gxnor/targets/c/costs.json.

python -m benchmarks.cores.fit
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from benchmarks.cores import CORES, WARNINGS, _call, run, write_source
from benchmarks.programs import Builder, batch, one_d, random_program, residual
from gxnor.program import Program
from gxnor.targets import rest
from gxnor.targets.c import costs, plan, source
from gxnor.targets.lowering import lower

TO = Path(costs.__file__).with_name("costs.json")


def networks() -> list[Program]:
    """Small ones that differ in what they do most."""
    made = [one_d(), one_d(0, 2)]
    settings = (
        (12, 8, 16, 3, 32, 1), (14, 32, 32, 3, 10, 1), (16, 16, 64, 5, 64, 1), (12, 40, 20, 3, 96, 2),
        (10, 64, 32, 1, 33, 0), (20, 16, 8, 5, 256, 1), (12, 32, 96, 3, 128, 1), (9, 96, 16, 3, 300, 2),
        (12, 70, 33, 2, 20, 1),
    )  # fmt: skip
    for seed, (size, first, second, kernel, dense, N2) in enumerate(settings):
        net = Builder((1, size, size), seed=seed)
        net.conv(first, 5 if seed % 2 else 3)
        net.threshold(N2)
        net.max_pool(2 if size > 10 else 1)
        net.conv(second, kernel)
        net.threshold(N2)
        net.flatten()
        net.dense(dense)
        net.threshold(1)
        net.dense(17 if seed % 3 else 10)
        made.append(net.program())
    return made


def main() -> None:
    found = {}
    for core in CORES:
        rows, totals = [], []
        made = networks() + ([] if core == "M0" else [residual()])
        for number, program in enumerate(made):
            x = batch(program, 3, number)
            x[np.random.default_rng(number).random(x.shape) < (0.2, 0.8, 0.5)[number % 3]] = 0
            samples = x if number % 2 else None
            lowered = lower(program)
            planned = plan.make(lowered, rest.states(lowered, samples))
            rows.append(sum(costs.expected(planned, x), costs.Counter()))
            totals.append(run(program, x, core, samples=samples).instructions)
        names = sorted({name for row in rows for name in row})
        matrix = np.array([[row.get(name, 0) for name in names] for row in rows])
        totals = np.array(totals)
        answer, _ = nnls(matrix / totals[:, None], np.ones(len(totals)))
        worst = np.abs(matrix @ answer / totals - 1).max()
        costs_of = {name: round(float(cost), 2) for name, cost in zip(names, answer, strict=True)}
        found[core] = {"instructions": costs_of, "code": all_code_sizes(core)}
        print(f"{core}: off by at most {100 * worst:.0f} % on {len(totals)} runs", flush=True)
    complete(found)
    TO.write_text(json.dumps(found, indent=1) + "\n")


def complete(found: dict) -> None:
    """The residual network does not fit the board with an M0. What it alone would tell is taken from the M3, in the
    proportion of what both tell of events."""
    small, large = found["M0"]["instructions"], found["M3"]["instructions"]
    for name, cost in large.items():
        small.setdefault(name, round(cost * small["event words"] / large["event words"], 2))


def flattened() -> Program:
    """Thresholds of their own for every place."""
    net = Builder((2, 4, 4), 1)
    net.conv(3, 2)
    net.flatten()
    net.threshold()
    net.dense(2)
    return net.program()


def all_code_sizes(core: str) -> dict[str, int]:
    """Bytes of code of every part, the most that any of the networks needs."""
    sizes: dict[str, int] = {}
    for program in (*networks(), residual(), flattened(), *map(random_program, range(12))):
        for name, size in code_sizes(program, core).items():
            sizes[name] = max(size, sizes.get(name, 0))
    return sizes


def code_sizes(program: Program, core: str) -> dict[str, int]:
    """Bytes of code of every part; functions that are inlined count where they are."""
    lowered = lower(program)
    planned = plan.make(lowered, rest.states(lowered, None))
    compiler = CORES[core].compiler
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_source(program, folder)
        _call([compiler, *WARNINGS, *CORES[core].flags.split(), "-Os", "-c", "net.c"], folder)
        text = _call([compiler.replace("gcc", "nm"), "-S", "net.o"], folder)
    of = {}
    for size, name in re.findall(r"^\w+ (\w+) [tT] (\S+)", text, re.M):
        name = name.split(".")[0]
        of[name] = of.get(name, 0) + int(size, 16)
    sizes = {"each call": -(-(of["net_logits"] + of["net_predict"]) // len(planned.steps))}
    for name in {name for step in planned.steps for name in step.parts}:
        functions = re.findall(r"^static \S+ \**(\w+)\(", source.part(name), re.M)
        sizes[name] = sum(of.get(function, 0) for function in functions)
    return sizes


if __name__ == "__main__":
    main()
