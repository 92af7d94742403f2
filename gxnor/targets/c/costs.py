"""What exported C costs on a core, before anyone compiles it: instructions of an input, and bytes of code.

Instructions are a sum of counts, each times what one of it takes on a core. `costs.json` has these numbers, measured under
QEMU by `python -m benchmarks.cores.fit`.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from importlib import resources

import numpy as np

from gxnor.program import reference
from gxnor.targets.c.plan import Plan, Step
from gxnor.targets.lowering import Linear

LANES = 32
BATCH = 8  # samples at a time
SAMPLES = 24  # enough for a mean


def expected(plan: Plan, samples: np.ndarray | None) -> list[Counter]:
    """What happens in every step, on average over the samples; without samples all states are taken to be equally likely,
    and no pixel to be 0."""
    counts: list[Counter[str]] = [Counter() for _ in plan.steps]
    if samples is None:
        for count, step in zip(counts, plan.steps, strict=True):
            count.update(_counts(plan, step, None))
        return counts
    samples = samples[:SAMPLES]
    for start in range(0, len(samples), BATCH):
        values = reference.trace(plan.lowered.program, samples[start : start + BATCH])
        for count, step in zip(counts, plan.steps, strict=True):
            count.update(_counts(plan, step, values))
    return [Counter({name: total / len(samples) for name, total in count.items()}) for count in counts]


def instructions(counts: list[Counter], core: str) -> int:
    """Of one input on a core."""
    costs = table()[core]["instructions"]
    return round(sum(costs.get(name, 0) * number for count in counts for name, number in count.items()))


def code(plan: Plan, core: str) -> int:
    """Bytes of code, compiled with -Os; those of the C library are not in it."""
    sizes = table()[core]["code"]
    parts = {part for step in plan.steps for part in step.parts}
    return sum(sizes[part] for part in parts) + sizes["each call"] * len(plan.steps)


def cores() -> tuple[str, ...]:
    return tuple(table())


@functools.cache
def table() -> dict:
    return json.loads(resources.files("gxnor.targets.c").joinpath("costs.json").read_text(encoding="utf-8"))


def _counts(plan: Plan, step: Step, values: list[np.ndarray] | None) -> dict[str, float]:
    """Summed over the samples in `values`, or of one."""
    stage, samples = step.stage, 1 if values is None else len(values[0])
    if not isinstance(stage, Linear) or step.struct not in ("events", "pixels", "planes"):
        size = plan.lowered.values[stage.result].shape if stage else plan.lowered.values[0].shape
        return {step.kernel: samples * _work(step, math.prod(size))}
    source = plan.lowered.values[stage.sources[0]]
    windows, taps = math.prod(stage.window.count), math.prod(stage.window.kernel)
    groups, in_groups = -(-len(stage.weight) // LANES), -(-source.shape[0] // LANES)
    if step.struct == "planes":
        return {"plane words": samples * windows * taps * in_groups * len(stage.weight)}
    rest = np.zeros(source.shape[0]) if step.rest is None else step.rest
    if step.struct == "pixels":
        events, busy = _seen(stage, source, rest, values, pixels=True)
        assert stage.steps is not None
        flags = groups * stage.steps.steps.shape[1]
        return {
            "pixels": samples * windows * taps * source.shape[0],
            "pixel words": events * groups,
            "flags": busy * flags,
        }
    events, _ = _seen(stage, source, rest, values, pixels=False)
    bits, weight_bits, planes, steps = step.fields[4], step.fields[6], step.fields[7], step.fields[8]
    return {
        "event words": events * groups * weight_bits,
        "events": events,
        "taps": samples * windows * 2 * bits * taps * in_groups,
        "lists": samples * windows * 2 * bits * groups * weight_bits,
        "planes": samples * windows * planes * groups * (1 + steps),
    }


def _seen(stage: Linear, source, rest: np.ndarray, values, pixels: bool) -> tuple[float, float]:
    """Inputs not at rest that all windows see together, and windows that see any."""
    window = stage.window
    if values is None:
        every = math.prod(window.count) * math.prod(window.kernel) * source.shape[0]
        return every * (1.0 if source.space is None else 1 - 1 / source.space.size), math.prod(window.count)
    x = values[stage.sources[0]].reshape(-1, *source.shape)
    x = np.where(x == -255, 0, 1) if pixels else x
    x = reference.pad(x, window.padding, 0) != rest.reshape(-1, 1, 1)
    seen = reference.windows(x, window.kernel, window.stride, window.dilation).sum(axis=(1, 4, 5), dtype=np.int64)
    return float(seen.sum()), float((seen > 0).sum())


def _work(step: Step, size: int) -> int:
    """Elements that a simple kernel makes, times the taps of each."""
    if step.struct == "direct":
        weights = step.tables["weights"]
        return size * weights.size // step.fields[2]
    return size
