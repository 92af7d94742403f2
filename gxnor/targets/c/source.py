"""A plan as C99 text."""

from __future__ import annotations

from collections import Counter
from importlib import resources

import numpy as np

from gxnor.targets.c.calls import LIST, At, Plan, Step

TYPES = {"uint32": "uint32_t", "int32": "int32_t", "int64": "int64_t", "int8": "int8_t", "float32": "float"}

LEGEND = """flash: bytes of tables; code comes on top. RAM: bytes of a layer's result and scratch; the whole is less than
the sum, as memory is used again. events: inputs that all windows of a layer see and that are not at rest, on average
over the samples that were given, or with all states equally likely where none were."""


def header(plan: Plan, name: str) -> str:
    program = plan.lowered.program
    guard = f"{name.upper()}_H"
    classes = "\n".join(f" *   {number}  {_comment(text)}" for number, text in enumerate(program.classes))
    return f"""/* {_summary(plan, name)} */
#ifndef {guard}
#define {guard}

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {name.upper()}_INPUTS {_count(program.input.shape)} /* bytes: {_input(program)} */
#define {name.upper()}_CLASSES {len(program.classes)}
#define {name.upper()}_ARENA {plan.ram} /* bytes of static memory */

/* The class of an input, the first of the largest logits:
{classes}
 * Not to be called twice at once: both functions work in the one arena. */
int {name}_predict(const uint8_t *pixels);

/* {name.upper()}_CLASSES logits. */
void {name}_logits(const uint8_t *pixels, float *logits);

#ifdef __cplusplus
}}
#endif

#endif
"""


def source(plan: Plan, name: str, counts: list[Counter]) -> str:
    """The text of the `.c`; `counts` are what `costs.expected` says, for the comment."""
    kernels = "\n".join(part(file) for file in _parts(plan))
    layers = "\n".join(filter(None, (_constants(number, step) for number, step in enumerate(plan.steps, 1))))
    calls = "\n".join(f"    {_call(number, step)}" for number, step in enumerate(plan.steps, 1))
    upper = name.upper()
    return f"""/* {_summary(plan, name)}
 *
{_table(plan, counts)} */
#include "{name}.h"

{_memory(plan)}
{kernels}
{layers}
void {name}_logits(const uint8_t *pixels, float *logits)
{{
{calls}
}}

int {name}_predict(const uint8_t *pixels)
{{
    float logits[{upper}_CLASSES];
    int best = 0, i;
    {name}_logits(pixels, logits);
    for (i = 1; i < {upper}_CLASSES; i++) {{
        best = (logits[i] > logits[best]) ? i : best;
    }}
    return best;
}}
"""


def _memory(plan: Plan) -> str:
    text = f"static uint32_t arena[{max(plan.arena, 1)}];\n"
    if plan.event_bytes:
        text += f"""
#define LIST {LIST} /* events that are listed before they are counted */
typedef uint{8 * plan.event_bytes}_t event_row; /* the number of a row of weights */
static event_row event_list[LIST + 8];
"""
    return text


def part(name: str) -> str:
    """The text of a kernel."""
    return resources.files("gxnor.targets.c").joinpath("kernels").joinpath(f"{name}.c").read_text(encoding="utf-8")


def _parts(plan: Plan) -> list[str]:
    """The kernels' files that are needed, in an order that declares first."""
    order = ("common", "lowest", "states", "events", "events_states", "events_sums", "planes", "pixels", "direct",
             "quantize", "unpack", "pack", "read", "max", "sum", "add", "reorder", "requantize",
             "concat", "pad", "upsample", "channels", "logits")  # fmt: skip
    needed = {part for step in plan.steps for part in step.parts}
    return [name for name in order if name in needed]


def _constants(number: int, step: Step) -> str:
    """The tables of a step and its struct."""
    text = ""
    names = []
    for table, array in step.tables.items():
        names.append(f"{table}_{number}")
        if step.struct == "events" and table == "weights":
            text += f"static const struct weights {names[-1]}[{array.size // 2}] = {{\n{_pairs(array)}}};\n"
        else:
            kind = TYPES[str(array.dtype)]
            text += f"static const {kind} {names[-1]}[{array.size}] = {{\n{_numbers(array)}}};\n"
    if step.struct is None:
        return text
    if step.struct == "events":  # without thresholds or without constants
        names.insert(2 if "constants" in step.tables else 3, "0")
    window, *rest = step.fields if isinstance(step.fields[0], list) else (None, *step.fields)
    if window is not None:
        rest = [f"{{{_window(window)}}}", *rest]
    inner = _window(step.fields) if step.struct == "window" else ", ".join(map(str, (*rest, *names)))
    return text + f"static const struct {step.struct} layer_{number} = {{{inner}}};\n"


def _window(numbers: list[int]) -> str:
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return ", ".join(f"{{{a}, {b}}}" for a, b in pairs)


def _numbers(array: np.ndarray) -> str:
    flat = array.reshape(-1)
    match str(array.dtype):
        case "uint32":
            texts, width = [f"0x{number:08X}U" for number in flat.tolist()], 9
        case "float32":
            texts, width = [_float(number) for number in flat], 6
        case "int64":
            texts, width = [f"INT64_C({n})" for n in flat.tolist()], 6
        case "int32":
            texts, width = ["INT32_MIN" if n == -(2**31) else str(n) for n in flat.tolist()], 12
        case _:
            texts, width = [str(number) for number in flat.tolist()], 24
    lines = (", ".join(texts[i : i + width]) for i in range(0, len(texts), width))
    return "".join(f"    {line},\n" for line in lines)


def _pairs(array: np.ndarray) -> str:
    texts = [f"{{0x{above:08X}U, 0x{zero:08X}U}}" for above, zero in array.reshape(-1, 2).tolist()]
    return "".join(f"    {', '.join(texts[i : i + 4])},\n" for i in range(0, len(texts), 4))


def _float(number: np.float32) -> str:
    """A constant that reads as exactly this number."""
    return float(number).hex() + "F"


def _call(number: int, step: Step) -> str:
    arguments = [f"&layer_{number}"] if step.struct else []
    for argument in step.arguments:
        if isinstance(argument, At):
            arguments.append(f"{'(int32_t *)' if argument.signed else ''}&arena[{argument.buffer.offset}]")
        elif argument in step.tables:
            arguments.append(f"{argument}_{number}")
        else:
            arguments.append(str(argument))
    return f"{step.kernel}({', '.join(arguments)});"


def _summary(plan: Plan, name: str) -> str:
    return f"{name}: a network of discrete weights and activations, written by gxnor; integers up to the logits."


def _table(plan: Plan, counts: list[Counter]) -> str:
    """The comment table: what runs every layer, and what that takes."""
    lines = [f" * {'layers':<28}{'kernel':<18}{'flash':>9}{'RAM':>8}{'events':>10}"]
    for step, count in zip(plan.steps, counts, strict=True):
        expected = f"{count['events']:>10,.0f}" if count["events"] else ""
        lines.append(f" * {step.label:<28}{step.kernel:<18}{step.flash:>9,}{step.ram:>8,}{expected}".rstrip())
    lines.append(f" * {'all':<46}{plan.flash:>9,}{plan.ram:>8,}")
    lines += [" *", *(f" * {line}" for line in LEGEND.splitlines())]
    return "\n".join(lines)


def _input(program) -> str:
    shape = " x ".join(map(str, program.input.shape))
    kind = "pixels" if program.input.space is None else f"state indices below {program.input.space.size}"
    return f"{shape} {kind}, channel by channel, row by row"


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _comment(text: str) -> str:
    """Without what would end a comment."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/")
