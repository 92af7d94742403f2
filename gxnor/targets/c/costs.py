"""What exported C costs on a core, before anyone compiles it: instructions of an input, and bytes of code.

Instructions of a step are a sum of counts, each times what one of it takes on a core. `costs.json` has these numbers,
measured under QEMU by `python -m benchmarks.cores.fit`, kernel by kernel; and apart for a kernel that a network calls only
once, for a compiler builds such a one into its caller, with the numbers of its layer in place of variables.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from importlib import resources

import numpy as np

from gxnor.program import reference
from gxnor.targets.c.calls import Plan, Step
from gxnor.targets.c.tables import LANES
from gxnor.targets.stages import Linear

BATCH = 8  # samples at a time
SAMPLES = 24  # enough for a mean
FILL = 8  # lists of events are filled up to a multiple of this


def expected(plan: Plan, samples: np.ndarray | None) -> list[Counter]:
    """What happens in every step, on average over the samples; without samples all states are taken to be equally likely,
    and no pixel to be 0."""
    if samples is None:
        return [Counter(_counts(plan, step, None)) for step in plan.steps]
    counts: list[Counter[str]] = [Counter() for _ in plan.steps]
    samples = samples[:SAMPLES]
    for start in range(0, len(samples), BATCH):
        values = reference.trace(plan.lowered.program, samples[start : start + BATCH])
        for count, step in zip(counts, plan.steps, strict=True):
            count.update(_counts(plan, step, values))
    return [Counter({name: total / len(samples) for name, total in count.items()}) for count in counts]


def instructions(plan: Plan, counts: list[Counter], core: str) -> list[float]:
    """Of every step for one input on a core."""
    costs = table()[core]["instructions"]
    return [
        sum(costs[variant(plan, step)][name] * number for name, number in count.items())
        for step, count in zip(plan.steps, counts, strict=True)
    ]


def variant(plan: Plan, step: Step) -> str:
    """The kernel of a step, as a compiler builds it."""
    calls = sum(other.kernel == step.kernel for other in plan.steps)
    return f"{step.kernel}, once" if calls == 1 else step.kernel


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
    samples = 1 if values is None else len(values[0])
    match step.struct:
        case "events":
            counts = _events(plan, step, values)
        case "pixels":
            counts = _pixels(plan, step, values)
        case _:
            counts = {name: samples * number for name, number in _still(step).items()}
    return counts | {"call": samples}


def _events(plan: Plan, step: Step, values: list[np.ndarray] | None) -> dict[str, float]:
    stage = step.stage
    assert isinstance(stage, Linear) and step.rest is not None and stage.sources
    _, _, in_groups, _, bits, groups, weight_bits, planes, steps, outputs = step.fields
    value = plan.lowered.values[stage.sources[0]]
    samples = 1 if values is None else len(values[0])
    windows, places = samples * math.prod(stage.window.count), samples * math.prod(_places(stage))
    if values is None:
        assert value.space is not None
        inputs = math.prod(stage.window.kernel) * value.shape[0]
        kinds = [((value.space.levels * sign) >> bit & 1) * (value.space.levels * sign > 0)
                 for bit in range(bits) for sign in (1, -1)]  # fmt: skip
        each = [inputs * kind.mean() for kind in kinds]
        events = windows * sum(each)
        listed = sum(windows * (number + (FILL - 1) / 2 * min(number, 1)) for number in each)
    else:
        x = values[stage.sources[0]].reshape(-1, *value.shape)
        sizes = reference.pad(x, stage.window.padding, 0) - step.rest.reshape(-1, 1, 1)
        events = listed = 0
        for bit in range(bits):
            for sign in (1, -1):
                number = _seen(stage, (sizes * sign > 0) & (np.abs(sizes) >> bit & 1 > 0))
                events += int(number.sum())
                listed += int((-(-number // FILL)).sum()) * FILL
    tried = windows * 2 * bits
    counts = {
        "events": events,
        "event words": listed * groups * weight_bits,
        "taps": tried * math.prod(stage.window.kernel) * in_groups,
        "taps inside": samples
        * 2
        * bits
        * in_groups
        * _inside(step.fields[0][:2], step.fields[0][2:10], step.fields[0][10:12]),
        "tap rows": tried * stage.window.kernel[0],
        "lists": tried * groups * weight_bits,
        "planes": windows * groups * planes,
    }
    if steps == 0:
        return counts | {"sum bits": windows * outputs * planes}
    return counts | {"step planes": windows * groups * steps * planes, "steps": windows * groups * steps,
                     "states": places * groups * steps}  # fmt: skip


def _pixels(plan: Plan, step: Step, values: list[np.ndarray] | None) -> dict[str, float]:
    stage = step.stage
    assert isinstance(stage, Linear)
    _, channels, groups, steps, _, _, _ = step.fields
    samples = 1 if values is None else len(values[0])
    windows, places = samples * math.prod(stage.window.count), samples * math.prod(_places(stage))
    if values is None:
        events, busy = windows * math.prod(stage.window.kernel) * channels, windows
    else:
        x = values[stage.sources[0]].reshape(-1, *plan.lowered.values[stage.sources[0]].shape)
        number = _seen(
            stage, reference.pad(x != -255, stage.window.padding, True)
        )  # padding is seen by what it counts as
        events, busy = int(number.sum()), int((number > 0).sum())
    return {
        "taps": windows * math.prod(stage.window.kernel) * channels,
        "tap rows": windows * stage.window.kernel[0] * channels,
        "events": events,
        "event words": events * groups,
        "sums": busy * groups,
        "steps": busy * groups * steps,
        "idle steps": (windows - busy) * groups * steps,
        "states": places * groups * steps,
    }


def _places(stage: Linear) -> tuple[int, int]:
    assert stage.pool is not None or stage.steps is None
    return stage.window.count if stage.pool is None else stage.pool.count


def _seen(stage: Linear, events: np.ndarray) -> np.ndarray:
    """The events that every window sees."""
    window = stage.window
    return reference.windows(events, window.kernel, window.stride, window.dilation).sum(axis=(1, 4, 5), dtype=np.int64)


def _inside(extents: list[int], sizes: list[int], count: list[int]) -> int:
    """Taps of all windows that do not read padding; `sizes` are the pairs kernel, stride, padding and dilation."""
    inside = 1
    for axis in (0, 1):
        kernel, stride, padding, dilation = sizes[axis::2]
        reads = np.arange(count[axis])[:, None] * stride + np.arange(kernel) * dilation - padding
        inside *= int(((reads >= 0) & (reads < extents[axis])).sum())
    return inside


def _still(step: Step) -> dict[str, float]:
    """Of the kernels that take the same for every input."""
    fields, arguments = step.fields, step.arguments
    match step.kernel:
        case "planes_to_sums" | "direct_sums":
            stage = step.stage
            assert isinstance(stage, Linear)
            sums = math.prod(stage.window.count) * len(stage.weight)
            taps = sums * math.prod(stage.window.kernel)
            inside = _inside(fields[0][:2], fields[0][2:10], fields[0][10:12]) * len(stage.weight)
            words = stage.weight.shape[1] if step.kernel == "direct_sums" else fields[1]
            return {"sums": sums, "taps": taps, "words": inside * words}
        case "max_pool" | "sum_pool":
            size, inside = math.prod(fields[-2:]), _inside(fields[:2], fields[2:10], fields[-2:])
            taps = size * math.prod(fields[2:4])
            return {"sums": size * arguments[2], "taps": taps * arguments[2], "words": inside * arguments[2]}
        case "quantize":
            places, channels, steps = fields
            return {"numbers": places * channels * steps, "words": places * -(-channels // LANES) * steps}
        case "pack" | "unpack":
            _, _, places, channels, bits = arguments
            return {"numbers": places * channels, "bits": places * channels * bits}
        case "read_input" | "reorder":
            return {"numbers": arguments[2] * arguments[3]}
        case "requantize" | "concat":
            return {"numbers": arguments[2] * arguments[3]}
        case "pad":
            return {"numbers": arguments[4] * math.prod(arguments[7:]), "places": math.prod(arguments[7:])}
        case "upsample":
            places = math.prod(arguments[2:4]) * math.prod(arguments[5:])
            return {"numbers": arguments[4] * places, "places": places}
        case "pick_channels":
            return {"numbers": arguments[2] * arguments[4]}
        case "add":
            return {"numbers": arguments[3]}
        case "scale_sums":
            return {"numbers": arguments[2]}
    raise AssertionError(step.kernel)
