"""The parts of an engine's text that differ from program to program: what it does in each step."""

from __future__ import annotations

from typing import cast

from gxnor.targets.verilog.layout import Engine, Layout
from gxnor.targets.verilog.plan import Edge, Emission, Numbers, Plan, States
from gxnor.targets.verilog.walk import tap_step
from gxnor.targets.verilog.widths import Rescale, bits


def walks(plan: Plan, engine: Engine, P: int, K: int) -> str:
    """How events walk from tap to tap, step by step."""
    found = []
    for label, number in enumerate(engine.takes):
        edge = cast(Edge, plan.steps[number].edge)
        tap_w, tap_a = tap_step(edge, engine.lanes)
        does = (
            f"last_block = {edge.to.blocks(engine.lanes) - 1}; tap_w = {tap_w % (1 << K)}; tap_a = {tap_a % (1 << P)};"
        )
        about = f"{named(edge.to.numbers)} adds ({' x '.join(map(str, edge.shape))} to {edge.to.shape[0]})"
        found.append(f"      {label}: begin {does} end  // {about}")
    return "\n".join(found)


def emits(plan: Plan, engine: Engine, first: int) -> str:
    """What is made of sums, step by step."""
    found = []
    for label, number in enumerate(engine.gives, first):
        step = plan.steps[number]
        emission = cast(Emission, step.emission)
        if step.edge is None:
            does = " logits = 1;"
        elif isinstance(emission, States):
            does = " binary = 1;" if emission.space.N == 0 else f" half = {emission.space.size // 2};"
            does += " least = 1;" if emission.least else ""
        else:
            does = " linear = 1;"
        does += f" shift = {step.shift};" if step.shift else ""
        found.append(f"      {label}: begin{does} end  // {named(emission.source.numbers)} emits")
    return "\n".join(found)


def named(numbers: tuple[int, ...]) -> str:
    """The layers of the program that a group of sums stands for."""
    return "+".join(map(str, numbers)) or "a copy"


def emitted(plan: Plan, engine: Engine, rescale: Rescale | None) -> str:
    """The value of an event, of a state or of a number."""
    value, lines = "level_3", []
    steps = [plan.steps[number] for number in engine.gives if plan.steps[number].edge]
    numbers = any(isinstance(step.emission, Numbers) for step in steps)
    if rescale is not None:
        wide = max(rescale.sum + rescale.multiplier, rescale.offset) + 1
        lines += [
            f"  reg signed [{rescale.sum + rescale.multiplier - 1}:0] product_3;  // (multiplier * sum + offset) >> shift",
            f"  reg signed [{rescale.offset - 1}:0] offset_3;",
            "  always @(posedge clk) begin",
            f"    product_3 <= sum * $signed(channel[S*A+1 +: {rescale.multiplier}]);",
            f"    offset_3 <= channel[S*A+{rescale.multiplier + 1} +: {rescale.offset}];",
            "  end",
            f"  wire signed [{wide - 1}:0] number_3 = (product_3 + offset_3) >>> {rescale.shift};",
        ]
    elif numbers:
        lines += [
            "  reg signed [A-1:0] number_3;  // sums as they are",
            "  always @(posedge clk) number_3 <= sum;",
        ]
    if numbers:
        value = "(linear ? number_3 : level_3)"
    if any(step.shift for step in steps):
        value += " <<< shift"
    return "\n".join([*lines, f"  assign emitted = {value};"])


def watches(at: Layout, k: int) -> str:
    """In the testbench: who follows an engine, and who watches its lanes."""
    engine, shared = at.engines[k], at.banks == 1
    dut = "dut.engine" if shared else f"dut.engine_{k}"
    wires = (
        "takes",
        "gives",
        "wiping",
        "adds_1",
        "clears_1",
        "clears_2",
        "a_from",
        "a_to",
        "go",
        "walk.idle",
        "emit.state",
    )
    takes, gives = at.step_bits(engine)
    lines = [
        f"  wire watching_{k}, clears_{k}, clash_{k};\n  wire signed [31:0] at_{k};\n"
        f"  follow #(.SHARED({int(shared)}), .FIRST({engine.takes[0]}), .LAST({engine.takes[-1]}), .TAKES_BITS({takes}), "
        f".GIVES_BITS({gives}), .P({bits(at.words(engine) - 1)})) follow{k} (clk, reset, "
        + ", ".join(f"{dut}.{wire}" for wire in wires)
        + f",\n    watching_{k}, clears_{k}, clash_{k}, at_{k});"
    ]
    for i in range(engine.lanes):
        names = ("found", "sum", "operand", "result", "opened", "writes", "zero")
        parts = ", ".join(f"{dut}.lane{i}.{name}" for name in names)
        lines.append(
            f"  watch #(.A({at.lane(engine, i)[0]}), .E({at.events})) watch{k}_{i} (clk, watching_{k}, clears_{k}, "
            f"clash_{k}, at_{k}, {parts});"
        )
    return "\n".join(lines)
