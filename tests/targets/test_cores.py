"""Exported C on microcontroller cores under QEMU: right on every bit, in as many instructions as are written down.

Instructions depend on the compiler: those in instructions.json are of GCC 12.2 with -Os. To write them again after a change
that is meant, run with GXNOR_PIN=1."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.cores import CORES, TOOLS, missing, run
from benchmarks.programs import batch, mnist, one_d
from gxnor.targets import rest
from gxnor.targets.c import costs
from gxnor.targets.c import plan as planning
from gxnor.targets.lowering import lower

PINNED = Path(__file__).with_name("instructions.json")

pytestmark = pytest.mark.cross


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("make", [mnist, one_d])
def test_core(make, core):
    if lacking := missing(CORES[core]):
        pytest.skip(f"{', '.join(lacking)} not found: {TOOLS}")
    program = make()
    x = batch(program, 4)
    x[:2][x[:2] < 200] = 0  # mostly background, as digits are
    got = run(program, x, core, samples=batch(program, 8, 1))
    pinned = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    key = f"{make.__name__} {core}"
    if os.environ.get("GXNOR_PIN"):
        pinned[key] = got.instructions
        PINNED.write_text(json.dumps(dict(sorted(pinned.items())), indent=1) + "\n")
    assert got.instructions == pinned[key]
    plan = planning.make(lower(program), rest.states(lower(program), batch(program, 8, 1)))
    assert abs(costs.instructions(costs.expected(plan, x), core) / got.instructions - 1) < 0.15
    if make is mnist:
        assert got.flash <= 160_000 and got.ram + got.stack <= 4096
