"""Exported C on cores under QEMU: right on every bit, with the RAM that was said before, in as many instructions as are
written down, and nearly as many as were predicted.

Instructions depend on the compiler: those in instructions.json are of GCC 12.2 with -Os. To write them again after a change
that is meant, run with GXNOR_PIN=1. The prediction for the small network is the worse one: a compiler builds a kernel that
is called once around the numbers of its layer, and layers differ in how much that saves."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.cores import CORES, TOOLS, missing, run
from benchmarks.programs import batch, mnist, one_d
from gxnor.targets.c import choice, costs

PINNED = Path(__file__).with_name("instructions.json")
IMAGES = 20

pytestmark = pytest.mark.cross


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("make, off", [(mnist, 0.03), (one_d, 0.12)])
def test_core(make, off, core):
    if lacking := missing(CORES[core]):
        pytest.skip(f"{', '.join(lacking)} not found: {TOOLS}")
    program = make()
    x, typical = batch(program, IMAGES), batch(program, 8, 1)
    x[: IMAGES // 2][x[: IMAGES // 2] < 200] = 0  # mostly background, as digits are
    got = run(program, x, core, samples=typical)
    pinned = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    key = f"{make.__name__} {core}"
    if os.environ.get("GXNOR_PIN"):
        pinned[key] = got.instructions
        PINNED.write_text(json.dumps(dict(sorted(pinned.items())), indent=1) + "\n")
    assert got.instructions == pinned[key]
    plan = choice.plan(program, typical)
    assert got.ram == plan.ram
    predicted = sum(costs.instructions(plan, costs.expected(plan, x), core))
    assert abs(predicted / got.instructions - 1) < off
    if make is mnist:
        assert got.flash <= 160_000 and got.ram + got.stack <= 4096
