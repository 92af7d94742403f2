"""Measures what exported C costs on every core, kernel by kernel, and writes gxnor/targets/c/costs.json.

python -m benchmarks.cores.fit [CORE ...]
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.optimize import nnls

from benchmarks.cores import CORES, call
from benchmarks.cores.layers import measure
from benchmarks.programs import Builder, batch, one_d, random_program, residual
from gxnor.program import Program
from gxnor.targets import rest
from gxnor.targets.c import calls, costs, plan, source
from gxnor.targets.lowering import lower
from gxnor.writing import write_text

SMALL = 5000  # instructions; an error that is small beside them does not matter in a step that takes fewer
PLANES = 12  # so many networks also run with bit planes in all layers
SMALLEST = 12_000  # bytes of RAM on the smallest board
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
    net = Builder((2, 4, 4), 1)  # thresholds of their own for every place
    net.conv(3, 2)
    net.flatten()
    net.threshold()
    net.dense(2)
    made += [net.program(), residual(), *map(random_program, range(14)), branches(6, 16), branches(10, 40)]
    return made + [random_program(seed, every=True) for seed in (1, 11, 18, 24, 35)]


def branches(size: int, channels: int) -> Program:
    """What joins, moves and scales values."""
    net = Builder((2, size, size), seed=size)
    start = net.conv(channels, 3)
    net.requantize(20)
    net.concat(start, net.last)
    net.threshold()
    net.pad(1, (0, 2))
    net.channels(np.arange(channels - 3))
    net.upsample((1, 2))
    if channels > 20:  # each once, or twice
        net.requantize(50)
        net.pad(0, 1)
        net.channels(np.arange(channels - 8))
        net.upsample(2)
    net.sum_pool(2)
    net.threshold(2)
    net.flatten()
    net.dense(5)
    return net.program()


def main(cores: list[str]) -> None:
    found = {core: known for core, known in costs.table().items() if core in CORES}
    for core in cores:
        runs: dict[str, list[tuple[Counter, float]]] = defaultdict(list)  # by kernel
        sizes: dict[str, int] = {}
        for number, program in enumerate(networks()):
            x = batch(program, 3, number)
            x[np.random.default_rng(number).random(x.shape) < (0.2, 0.8, 0.5)[number % 3]] = 0
            lowered = lower(program)
            rests = rest.states(lowered, x if number % 2 else None)
            few = {stage.result for stage in lowered.stages if plan.has_planes(lowered, stage) and number < PLANES}
            for planes in {frozenset(), frozenset(few)}:
                planned = plan.make(lowered, rests, planes)
                if core == "M0" and planned.ram > SMALLEST:
                    continue
                with TemporaryDirectory() as folder:
                    steps = measure(planned, x, core, Path(folder))
                    for name, size in code_sizes(planned, core, Path(folder)).items():
                        sizes[name] = max(size, sizes.get(name, 0))
                for step, count, total in zip(planned.steps, costs.expected(planned, x), steps, strict=True):
                    runs[costs.variant(planned, step)].append((count, total))
        found[core] = {"instructions": fitted(runs, core), "code": sizes}
        complete(found)
        write_text(TO, json.dumps({core: found[core] for core in CORES if core in found}, indent=1) + "\n")


def fitted(runs: dict[str, list[tuple[Counter, float]]], core: str) -> dict[str, dict[str, float]]:
    """What one of every count takes: the costs with the least squares of relative errors. Where a kernel was seldom called
    once, or often, what the other way took says a little, too."""
    answers = {}
    for kernel, measured in sorted(runs.items()):
        other = runs.get(kernel.removesuffix(", once") if kernel.endswith(", once") else f"{kernel}, once", [])
        names = sorted({name for count, _ in measured for name in count})
        matrix = np.array([[count[name] for name in names] for count, _ in (*measured, *other)])
        totals = np.array([total for _, total in (*measured, *other)])
        weights = 1 / (totals + SMALL)
        weights[len(measured) :] *= 0.03
        answer, _ = nnls(matrix * weights[:, None], totals * weights)
        off = ((matrix @ answer - totals) * weights)[: len(measured)]
        print(f"{core:<12}{kernel:<24}{len(measured):>4} runs, off by {100 * np.sqrt((off**2).mean()):.1f} % in the mean, "
              f"{100 * np.abs(off).max():.0f} % at most", flush=True)  # fmt: skip
        answers[kernel] = {name: round(float(cost), 2) for name, cost in zip(names, answer, strict=True)}
    return answers


def complete(found: dict) -> None:
    """What the runs of a core do not tell: of a kernel that was only called once, or only often, and on the smallest
    board, of one that none of its networks called, which is then taken from the M3."""
    for core in found.values():
        known, other = core["instructions"], found.get("M3", core)["instructions"]
        for kernel in {name.removesuffix(", once") for name in {*known, *other}}:
            pair = kernel, f"{kernel}, once"
            answers = [table[name] for table in (known, other) for name in pair if name in table]
            for name in pair:
                known.setdefault(name, answers[0])
        for part, size in found.get("M3", core)["code"].items():
            core["code"].setdefault(part, size)


def code_sizes(planned: calls.Plan, core: str, folder: Path) -> dict[str, int]:
    """Bytes of code of every part in net.o; functions that are inlined count where they are."""
    text = call([CORES[core].compiler.replace("gcc", "nm"), "-S", "net.o"], folder)
    of: Counter[str] = Counter()
    for size, name in re.findall(r"^\w+ (\w+) [tT] (\S+)", text, re.M):
        of[name.split(".")[0]] += int(size, 16)
    sizes = {"each call": -(-(of["net_logits"] + of["net_predict"]) // len(planned.steps))}
    for name in {name for step in planned.steps for name in step.parts}:
        functions = re.findall(r"^static \S+ \**(\w+)\(", source.part(name), re.M)
        sizes[name] = sum(of[function] for function in functions)
    return sizes


if __name__ == "__main__":
    main(sys.argv[1:] or list(CORES))
