"""The parts of the circuit's text that differ from program to program."""

from __future__ import annotations

from dataclasses import dataclass

from gxnor.targets.verilog.plan import Emission, Input, Numbers, Plan, States
from gxnor.targets.verilog.walk import tap_step


@dataclass(frozen=True)
class Rescale:
    """The multiplier of numbers that are emitted, one shift for all: a smaller one's multiplier and offset are multiplied by
    the difference. sum: bits of the sums; offset, multiplier: bits of these."""

    shift: int
    sum: int
    offset: int
    multiplier: int

    @classmethod
    def of(cls, emissions: list[Emission], sum_bits: int) -> Rescale | None:
        """None where all numbers that are emitted are sums as they are."""
        numbers = [emission for emission in emissions if isinstance(emission, Numbers)]
        if all(emission.plain for emission in numbers):
            return None
        shift = max(emission.shift for emission in numbers)
        offset = multiplier = 1
        for emission in numbers:
            scale = 1 << shift - emission.shift
            low, high = int(min(emission.offset)) * scale, int(max(emission.offset)) * scale
            offset = max(offset, signed_bits(low, high))
            low, high = int(min(emission.multiplier)) * scale, int(max(emission.multiplier)) * scale
            multiplier = max(multiplier, signed_bits(low, high))
        return cls(shift, sum_bits, offset, multiplier)

    @property
    def widths(self) -> tuple[int, int]:
        return self.offset, self.multiplier

    def numbers(self, emission: Emission, channel: int) -> tuple[int, int]:
        """Offset and multiplier of a channel."""
        if not isinstance(emission, Numbers):
            return 0, 0
        scale = 1 << self.shift - emission.shift
        return int(emission.offset[channel]) * scale, int(emission.multiplier[channel]) * scale


def case(plan: Plan, number: int, lanes: int, P: int, K: int) -> str:
    """What differs in a step: how it walks from tap to tap, and what it makes of sums."""
    step = plan.steps[number]
    emission, edge = step.emission, step.edge
    does, told = "", []
    if emission is not None:
        told.append(f"{named(emission.source.numbers)} emits")
        if edge is None:
            does += " logits = 1;"
        elif isinstance(emission, States):
            does += " binary = 1;" if emission.space.N == 0 else f" half = {emission.space.size // 2};"
            does += " least = 1;" if emission.least else ""
        else:
            does += " linear = 1;"
        does += f" shift = {step.shift};" if step.shift else ""
    if edge is not None:
        tap_w, tap_a = tap_step(edge, lanes)
        told.append(f"{named(edge.to.numbers)} adds ({' x '.join(map(str, edge.shape))} to {edge.to.shape[0]})")
        does += f" last_block = {edge.to.blocks(lanes) - 1}; tap_w = {tap_w % (1 << K)}; tap_a = {tap_a % (1 << P)};"
    return f"      {number}: begin{does} end  // {', '.join(told)}"


def named(numbers: tuple[int, ...]) -> str:
    """The layers of the program that a group of sums stands for."""
    return "+".join(map(str, numbers)) or "a copy"


def lane(name: str, i: int, own_a: int, own_v: int, sizes: tuple[int, int], words: int, depth: int) -> str:
    W, P = sizes
    return (
        f"  wire [{own_a - 1}:0] taken_{i};\n"
        f"  {name}_lane #(.A({own_a}), .V({own_v}), .W({W}), .P({P}), .WORDS({words}), .DEPTH({depth}), .DENSE(DENSE),\n"
        f'    .WEIGHTS("{name}_lane_{i}.hex")) lane{i} (.clk(clk), .w(op_w), .busy(adds_1), .from(a_from),\n'
        f"    .plus(plus[{own_v - 1}:0]), .minus(minus[{own_v - 1}:0]), .clear(clears_2), .wipe(wipe), .to(a_to),\n"
        f"    .skip(skip[{i}]), .picked(taken_{i}));"
    )


def picked(A: int, own: list[int]) -> str:
    """The sum of the one lane that is picked, as wide as the widest: all others give 0."""
    wide = [f"{{{{{A - a + 1}{{taken_{i}[{a - 1}]}}}}, taken_{i}[{a - 2}:0]}}" for i, a in enumerate(own)]
    return "  assign any = " + "\n    | ".join(wide) + ";"


def watch(i: int, own_a: int) -> str:
    wires = ", ".join(f"dut.lane{i}.{name}" for name in ("found", "sum", "operand", "result", "writes"))
    return f"  watch #(.A({own_a})) watch{i} (clk, {wires});"


def input_value(given: Input, V: int) -> str:
    """Inputs as events; pixels of a padded layer are doubled, and the padding is events of 255."""
    _, height, width = given.shape
    up, left = given.border
    border = f"in_y < {up} || in_y >= {height - up} || in_x < {left} || in_x >= {width - left}" if up or left else "0"
    if given.signed:
        value = f"{{{{{V - 8}{{in_data[7]}}}}, in_data}}" if V > 8 else f"in_data[{V - 1}:0]"
    else:
        value = "{in_data, 1'b0}" if given.factor == 2 else "{1'b0, in_data}"
    value = f"border ? 255 : {value}" if up or left else value
    return f"  wire border = {border};\n  wire [V-1:0] in_value = {value};"


def emitted(plan: Plan, rescale: Rescale | None) -> str:
    """The value of an event, of a state or of a number."""
    value, lines = "level_3", []
    numbers = [step for step in plan.steps[:-1] if isinstance(step.emission, Numbers)]
    if rescale is not None:
        wide = max(rescale.sum + rescale.multiplier, rescale.offset) + 1
        at, low = "S*A+W+1", "S*A+W"
        lines += [
            f"  reg signed [{rescale.sum + rescale.multiplier - 1}:0] product_3;  // (multiplier * sum + offset) >> shift",
            f"  reg signed [{rescale.offset - 1}:0] offset_3;",
            "  always @(posedge clk) begin",
            f"    product_3 <= here * $signed(channel_2[{at} +: {rescale.multiplier}]);",
            f"    offset_3 <= channel_2[{low}+{rescale.multiplier + 1} +: {rescale.offset}];",
            "  end",
            f"  wire signed [{wide - 1}:0] number_3 = (product_3 + offset_3) >>> {rescale.shift};",
        ]
    elif numbers:
        lines += [
            "  reg signed [A-1:0] number_3;  // sums as they are",
            "  always @(posedge clk) number_3 <= here;",
        ]
    if numbers:
        value = "(linear ? number_3 : level_3)"
    if any(step.shift for step in plan.steps):
        value += " <<< shift"
    return "\n".join([*lines, f"  wire signed [V-1:0] emitted = {value};"])


def bits(largest: int) -> int:
    return max(1, int(largest).bit_length())


def signed_bits(low: int, high: int) -> int:
    """Of two's complement that holds both."""
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0, 1) + 1
