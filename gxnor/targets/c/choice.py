"""The plan of a program: which layers are summed by bit planes and which by events, from what either takes on typical
inputs.

An event costs the same for up to 32 outputs, and what rests costs little; a bit plane serves 32 inputs of one output,
whether they rest or not. So planes are for few outputs; where they take about as long, they save tables."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from gxnor.program import Program
from gxnor.targets import rest
from gxnor.targets.c import costs
from gxnor.targets.c import plan as planning
from gxnor.targets.c.calls import Plan
from gxnor.targets.lowering import lower

CORE = "M4"  # whose instructions are compared
MATTERS = 0.01  # of all instructions; less of a difference gives way to flash


def plan(program: Program, samples: np.ndarray | None) -> Plan:
    """Raises GxnorError that names the layer where one is beyond the kernels.

    Args:
        samples: typical inputs, uint8 (n, *shape), or None: all states are taken to be equally likely."""
    lowered = lower(program)
    rests = rest.states(lowered, samples)
    best = planning.make(lowered, rests)
    events = _instructions(best, samples)
    total = sum(events.values())
    planes: frozenset[int] = frozenset()
    for stage in lowered.stages:
        if not planning.has_planes(lowered, stage):
            continue
        other = planning.make(lowered, rests, planes | {stage.result})
        still = _instructions(other, None)[stage.result]  # nothing in them depends on samples
        saved = (events[stage.result] - still) / total
        smaller = flash(other) < flash(best)
        if other.ram <= best.ram and (saved > MATTERS or (saved > -MATTERS and smaller)):
            best, planes = other, planes | {stage.result}
    return best


def _instructions(plan: Plan, samples: np.ndarray | None) -> dict[int, float]:
    """Of every stage, by the number of its result."""
    sums: dict[int, float] = defaultdict(float)
    for step, number in zip(plan.steps, costs.instructions(plan, costs.expected(plan, samples), CORE), strict=True):
        sums[step.stage.result if step.stage else 0] += number
    return sums


def flash(plan: Plan) -> int:
    """Bytes of tables and code."""
    return plan.flash + costs.code(plan, CORE)
